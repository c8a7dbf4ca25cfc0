"""One style for every plot: colours, type and sizes, and how a figure becomes files.

The colours are those of the web page. Blue and orange are told apart by everybody; where there are
more lines, one is blue and the others are grey, and each has its name beside it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

INK, SOFT, GRID, GROUND = "#1b1f24", "#57606a", "#e1e5ea", "#ffffff"
BLACK = "#000000"
ACCENT, SECOND, OTHERS = "#0b5cad", "#b35900", "#8a94a0"
# For classes: told apart by people who do not see red and green (Okabe and Ito 2008), dark first.
SERIES = (ACCENT, SECOND, "#117a65", "#8e4585", "#3c3c3c")
_SHADES = (GROUND, "#dbe8f6", "#a9c9ea", "#5b9bd5", ACCENT, "#083f78")
_STYLE = {
    # Names are text, also with $ in them, which else would be a formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": GRID,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "figure.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    # The same plot is the same file.
    "svg.hashsalt": "closedloop",
}
_DOTS_AN_INCH = 110
_PADDING_INCHES = 0.12


@dataclass(frozen=True)
class Picture:
    """A plot as PNG, which everything shows, and as SVG, which is sharp at any size."""

    png: bytes
    svg: bytes

    def files(self, name: str) -> dict[str, str | bytes]:
        """Both under the names that they have in a run."""
        return {f"{name}.png": self.png, f"{name}.svg": self.svg}


class Sheet:
    """A figure to draw on; `picture` is made of it at the end of `drawing`."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self.picture = Picture(b"", b"")


@contextmanager
def drawing(width: float, height: float) -> Iterator[Sheet]:
    """A new figure of that many inches, in the style; nothing is cut off at its edge."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        sheet = Sheet(Figure(figsize=(width, height), dpi=_DOTS_AN_INCH, layout="constrained"))
        yield sheet
        # Laid out and measured once: for each file anew it would take twice the time.
        sheet.figure.draw_without_rendering()
        sheet.figure.set_layout_engine(None)
        # Titles too: the layout leaves them room upwards, not sidewards.
        edge = sheet.figure.get_tightbbox().padded(_PADDING_INCHES)
        found = []
        for form in ("png", "svg"):
            content = io.BytesIO()
            sheet.figure.savefig(
                content,
                format=form,
                dpi=_DOTS_AN_INCH,
                bbox_inches=edge,
                metadata={"Date": None} if form == "svg" else None,
            )
            found.append(content.getvalue())
        sheet.picture = Picture(*found)


def make_shades() -> Any:
    """From the ground to dark blue, for the cells of a matrix."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("closedloop", _SHADES)


def choose_ink(colour: Sequence[float]) -> str:
    """The colour of a text on this one (red, green and blue, 0 to 1): the one with more contrast.

    By relative luminance, as in WCAG 2. Of white and black, one has 4.5 to 1 on any colour; with a
    softer black, none has on some.
    """
    red, green, blue = (_linear(part) for part in colour[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    on_dark, on_light = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return GROUND if on_dark > on_light else BLACK


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def shorten(name: str, most: int) -> str:
    """A name that fits, with … for what is left out, in one line."""
    line = " ".join(name.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def label_ends(
    axes: Any, ends: Sequence[tuple[str, float, float, str, bool]], *, gap: float = 0.045
) -> None:
    """Write each name beside the right end of its line, none over another.

    An end is a name, its x and y, a colour, and whether it is the highlighted one. `gap` is the
    least distance of two names, as a share of the height.
    """
    from matplotlib.transforms import offset_copy

    low, high = axes.get_ylim()
    step, places = (high - low) * gap, [end[2] for end in ends]
    order = sorted(range(len(ends)), key=lambda number: places[number])
    for before, number in pairwise(order):
        places[number] = max(places[number], places[before] + step)
    if order and (over := places[order[-1]] - max(high, ends[order[-1]][2])) > 0:
        for number in order:
            places[number] -= over / 2
    for number, (name, x, y, colour, first) in enumerate(ends):
        moved = abs(places[number] - y) > step / 4
        axes.annotate(
            shorten(name, 24),
            (x, y),
            xytext=(x, places[number]),
            textcoords=offset_copy(
                axes.transData, axes.figure, x=14 if moved else 6, units="points"
            ),
            color=colour,
            fontsize=9,
            fontweight="bold" if first else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GRID, "shrinkA": 0, "shrinkB": 2}
            if moved
            else None,
        )
