"""Bars: a number a day, a value against its limit, and two distributions of a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.page.charts.svg import (
    Scale,
    box,
    element,
    is_number,
    line,
    make_scale,
    picture,
    say_number,
    shown,
    spread,
    write,
)


@dataclass(frozen=True)
class Bar:
    """A name and a number."""

    name: str
    value: float


def draw_bars(title: str, bars: Sequence[Bar], unit: str) -> Markup:
    """Upright bars from 0, such as rows a day; `unit` is in the hints."""
    known = [bar for bar in bars if is_number(bar.value)]
    if not known:
        nothing = [write("Nothing yet.", 10, 34)]
        return picture(title, "Nothing yet.", (520, 60), nothing, "bars")
    most = max(bar.value for bar in known)
    up = Scale(0, most or 1.0, 130, 22)
    width = min(480 / len(known), 60)
    parts = [line(20, 130, 500, 130, "grid")]
    for place, bar in enumerate(known):
        x = 20 + place * width
        hint = f"{shown(bar.name)}: {say_number(bar.value)} {unit}"
        parts.append(
            box(x + width * 0.12, up(bar.value), width * 0.76, 130 - up(bar.value), "bar", hint)
        )
        if len(known) <= 14 and bar.value:
            middle = x + width / 2
            parts.append(
                write(_short(bar.value), middle, up(bar.value) - 5, "tick small", "middle")
            )
    for place in spread([bar.name for bar in known], 4):
        middle = 20 + (place + 0.5) * width
        parts.append(write(shown(known[place].name, 14), middle, 150, "tick", "middle"))
    last = known[-1]
    told = (
        f"{len(known)} bars, the largest {say_number(most)}, "
        f"the newest {say_number(last.value)} {unit}."
    )
    return picture(title, told, (520, 160), parts, "bars")


def _short(value: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):.3g}{letter}"
    return say_number(value)


def draw_bullet(
    title: str,
    value: float | None,
    limit: float | None,
    lower: float | None = None,
    upper: float | None = None,
    verdict: str = "",
) -> Markup:
    """A value with its interval against a limit; nothing without a value.

    `verdict` is holds, fails or unknown, and part of the class of the value's dot.
    """
    if value is None or not is_number(value):
        return Markup("")
    # A count or a share starts at 0; what can be negative keeps 0 in sight.
    across = make_scale([value, limit, lower, upper, 0.0], 10, 290)
    if min(v for v in (value, limit or 0.0, lower or 0.0) if is_number(v)) >= 0:
        across = Scale(0.0, across.high, 10, 290)
    parts = [box(10, 16, 280, 10, "track")]
    if across.low < 0 < across.high:
        parts.append(line(across(0), 13, across(0), 29, "grid"))
    if lower is not None and upper is not None and is_number(lower) and is_number(upper):
        parts.append(box(across(lower), 17.5, across(upper) - across(lower), 7, "band"))
    if limit is not None and is_number(limit):
        place = across(limit)
        anchor = "start" if place < 60 else "end" if place > 240 else "middle"
        parts += [
            line(place, 10, place, 32, "limit"),
            write(f"limit {say_number(limit)}", place, 43, "limit-words", anchor),
        ]
    parts.append(element("circle", cx=across(value), cy=21, r=5, class_=f"point {verdict}"))
    told = f"{say_number(value)}" + ("" if limit is None else f", limit {say_number(limit)}")
    if lower is not None and upper is not None:
        told += f", interval from {say_number(lower)} to {say_number(upper)}"
    return picture(title, told, (300, 48), parts, "bullet")


def draw_histograms(
    title: str,
    edges: Sequence[float],
    shares: tuple[Sequence[float], Sequence[float]],
    names: tuple[str, str],
) -> Markup:
    """Two histograms of a number over one another: the first as an outline, the second as bars.

    `shares` have one more entry than `edges`: values below the first, and from the last on.
    """
    bins = len(edges) + 1
    if len(edges) < 2 or any(len(side) != bins for side in shares):
        return _say_no_values(title)
    most = max([*shares[0], *shares[1], 1e-9])
    up = Scale(0, most * 1.1, 180, 30)
    width = 460 / bins
    parts = [*_draw_shares(up), line(46, 180, 506, 180, "grid")]
    for place, share in enumerate(shares[1]):
        hint = (
            f"{_name_bin(edges, place)}: {share:.1%} of {names[1]}, {shares[0][place]:.1%} before"
        )
        x = 46 + place * width
        parts.append(box(x + 0.5, up(share), width - 1, 180 - up(share), "bar now", hint))
    steps = [f"46,{180:.1f}"]
    for place, share in enumerate(shares[0]):
        x = 46 + place * width
        steps += [f"{x:.1f},{up(share):.1f}", f"{x + width:.1f},{up(share):.1f}"]
    steps.append(f"506,{180:.1f}")
    parts.append(element("polyline", points=" ".join(steps), class_="outline"))
    for place in spread([str(edge) for edge in edges], 5):
        x = 46 + (place + 1) * width
        parts += [
            line(x, 180, x, 185, "grid"),
            write(say_number(edges[place]), x, 200, "tick", "middle"),
        ]
    parts += _draw_key(names, line(46, 14, 62, 14, "outline"))
    told = (
        f"{names[1]} as bars, {names[0]} as a line, from {say_number(edges[0])} "
        f"to {say_number(edges[-1])}; the first and the last bar hold what lies outside."
    )
    return picture(title, told, (520, 210), parts, "histograms")


def draw_categories(
    title: str,
    categories: Sequence[str],
    shares: tuple[Sequence[float], Sequence[float]],
    names: tuple[str, str],
    new: Sequence[str] = (),
) -> Markup:
    """Two bars for each category; the last share is that of all others. `new` ones are marked."""
    if not categories or any(len(side) != len(categories) + 1 for side in shares):
        return _say_no_values(title)
    rows = [
        (shown(name) + (" (new)" if name in set(new) else ""), before, now)
        for name, before, now in zip([*categories, "all others"], *shares, strict=True)
    ]
    if not (rows[-1][1] or rows[-1][2]):
        rows.pop()
    most = max(max(before, now) for _, before, now in rows) or 1.0
    across = Scale(0, most, 180, 460)
    parts = [*_draw_key(names, box(46, 8, 16, 11, "bar before"))]
    for place, (name, before, now) in enumerate(rows):
        y = 34 + place * 30
        parts += [
            write(name, 172, y + 15, "label", "end"),
            box(180, y, across(before) - 180, 9, "bar before"),
            box(180, y + 11, across(now) - 180, 9, "bar now"),
            write(f"{before:.1%}", across(before) + 5, y + 9, "tick small"),
            write(f"{now:.1%}", across(now) + 5, y + 20, "tick small"),
        ]
    told = f"{len(rows)} categories, {names[1]} below {names[0]}."
    return picture(title, told, (520, 40 + 30 * len(rows)), parts, "categories")


def _say_no_values(title: str) -> Markup:
    return picture(
        title, "There are no values.", (520, 60), [write("There are no values.", 10, 34)], "bars"
    )


def _draw_shares(up: Scale) -> list[Markup]:
    parts = []
    for tick in up.ticks(3):
        parts += [
            line(46, up(tick), 506, up(tick), "grid"),
            write(f"{tick:.0%}" if tick >= 0.1 else f"{tick:.2g}", 40, up(tick) + 4, "tick", "end"),
        ]
    return parts


def _draw_key(names: tuple[str, str], before: Markup) -> list[Markup]:
    first, second = (shown(name, 26) for name in names)
    start = 46 + 22 + 7.2 * len(first) + 14
    return [
        before,
        write(first, 68, 18, "key"),
        box(start, 8, 16, 11, "bar now"),
        write(second, start + 22, 18, "key"),
    ]


def _name_bin(edges: Sequence[float], place: int) -> str:
    if place == 0:
        return f"below {say_number(edges[0])}"
    if place == len(edges):
        return f"{say_number(edges[-1])} and more"
    return f"{say_number(edges[place - 1])} to {say_number(edges[place])}"
