"""Elements, texts and scales of a chart.

Colours and lines come from `static/charts.css` by class, so a chart is light and dark like its
page. A browser that reads aloud says a chart's title and description; the numbers stand in a table
beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from closedloop.shown_text import printable

# Of a name from outside, which may be of any length.
LONGEST = 24
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def element(name: str, *inside: str, **attributes: str | float | None) -> Markup:
    """An element with its content and attributes, both escaped, without control characters.

    `class_` and `text_anchor` mean `class` and `text-anchor`. What is None is left out.
    """
    written = [
        f' {key.rstrip("_").replace("_", "-")}="{_show(_write(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    content = Markup("").join(_show(part) for part in inside)
    return Markup(f"<{name}{''.join(written)}>{content}</{name}>")


def picture(
    title: str, description: str, size: tuple[float, float], parts: Iterable[Markup], kind: str
) -> Markup:
    """A whole chart of this size in its own units, which its page scales."""
    width, height = size
    return element(
        "svg",
        element("title", shown(title, 200)),
        element("desc", shown(description, 1_000)),
        *parts,
        viewBox=f"0 0 {_write(width)} {_write(height)}",
        role="img",
        aria_label=shown(f"{title}. {description}", 1_000),
        class_=f"chart {kind}",
    )


def shown(text: str, longest: int = LONGEST) -> str:
    """A text from outside on one line: no control characters, and not longer than there is room."""
    line = " ".join(printable(text[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def write(text: str, x: float, y: float, kind: str = "label", anchor: str = "start") -> Markup:
    """A text at a place; `anchor` is start, middle or end."""
    return element("text", shown(text, 80), x=x, y=y, text_anchor=anchor, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def box(x: float, y: float, width: float, height: float, kind: str, hint: str = "") -> Markup:
    """A rectangle, with a hint for the mouse."""
    inside = [element("title", shown(hint, 200))] if hint else []
    return element(
        "rect", *inside, x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=kind
    )


def is_number(value: float | None) -> bool:
    """Whether there is something to draw."""
    return value is not None and math.isfinite(value)


def say_number(value: float | None) -> str:
    """A number as people read it; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.4g}" if abs(value) >= 0.001 else f"{value:.1e}"


def say_share(value: float | None) -> str:
    """A share as people read it, in per cent; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.0%}"


@dataclass(frozen=True)
class Scale:
    """From numbers to places along one direction; `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value; one outside of the scale is at its end."""
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, wanted: int = 4) -> list[float]:
        """About `wanted` round numbers on the scale."""
        rough = (self.high - self.low) / max(wanted, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next((size * power for size in _STEPS if size * power >= rough), rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def make_scale(
    values: Iterable[float | None],
    start: float,
    end: float,
    *,
    least: float | None = None,
    most: float | None = None,
) -> Scale:
    """A scale on which all values have room, within `least` and `most` if given."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 0.5
    low, high = low - room, high + room
    low = low if least is None else max(low, least)
    high = high if most is None else min(high, most)
    if not high - low > 1e-12 * max(abs(low), abs(high), 1e-300) or not math.isfinite(high - low):
        middle = low if math.isfinite(low) and abs(low) < 1e300 else 0.0
        wide = max(abs(middle) * 0.1, 0.5)
        low, high = middle - wide, middle + wide
    return Scale(low, high, start, end)


def spread(names: Sequence[str], wanted: int) -> list[int]:
    """The places of at most `wanted` of the names, evenly, with the first and the last."""
    if len(names) <= wanted:
        return list(range(len(names)))
    return sorted({round(step * (len(names) - 1) / (wanted - 1)) for step in range(wanted)})


def _show(part: str) -> Markup:
    """What is Markup was made here; anything else is a text, whatever is in it."""
    return part if isinstance(part, Markup) else escape(printable(part))


def _write(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
