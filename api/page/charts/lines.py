"""Values by window: a line with the interval of each value, and a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.page.charts.svg import (
    Scale,
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

_WIDTH, _HEIGHT = 520.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 500.0, 26.0, 196.0
_NAMES = 4
Say = Callable[[float | None], str]


@dataclass(frozen=True)
class Point:
    """A value with its interval; None where nothing was measured.

    `group` is written where it changes, such as the version behind the value. `hollow` points stand
    for what came late, `over` ones are beyond a limit.
    """

    name: str
    value: float | None
    lower: float | None = None
    upper: float | None = None
    group: str = ""
    hollow: bool = False
    over: bool = False


@dataclass(frozen=True)
class Limit:
    """A line across the chart, with its words."""

    value: float
    words: str


def draw_lines(
    title: str,
    points: Sequence[Point],
    limit: Limit | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    joined: bool = True,
    say: Say = say_number,
) -> Markup:
    """The chart; without any value it says so.

    Points that are not `joined` have no line. `say` writes a value.
    """
    known = [point for point in points if is_number(point.value)]
    if not known:
        return picture(title, "Nothing was measured yet.", (_WIDTH, 60), [_say_empty()], "lines")
    down = make_scale(
        [
            *(point.value for point in known),
            *(bound for point in known for bound in (point.lower, point.upper)),
            limit.value if limit else None,
        ],
        _BOTTOM,
        _TOP,
        least=least,
        most=most,
    )
    across = Scale(0, max(len(points) - 1, 1), _LEFT + 14, _RIGHT - 14)
    parts = [
        *_draw_grid(down, say),
        *_draw_names(points, across),
        *_draw_limit(limit, down),
        *_draw_band(points, across, down, joined),
        *(_draw_line(points, across, down) if joined else []),
        *_draw_groups(points, across),
        *_draw_points(points, across, down, say),
        *_write_limit(limit, points, across, down, say),
    ]
    return picture(title, _describe(points, limit, say), (_WIDTH, _HEIGHT), parts, "lines")


def _say_empty() -> Markup:
    return write("Nothing was measured yet.", 10, 34, "label")


def _describe(points: Sequence[Point], limit: Limit | None, say: Say) -> str:
    known = [point for point in points if point.value is not None and is_number(point.value)]
    values = [point.value for point in known if point.value is not None]
    last = known[-1]
    told = (
        f"{len(known)} windows from {shown(known[0].name)} to {shown(last.name)}, "
        f"between {say(min(values))} and {say(max(values))}, "
        f"the newest {say(last.value)}."
    )
    return told if limit is None else f"{told} {limit.words}: {say(limit.value)}."


def _draw_grid(down: Scale, say: Say) -> list[Markup]:
    parts = []
    for tick in down.ticks():
        place = down(tick)
        parts += [
            line(_LEFT, place, _RIGHT, place, "grid"),
            write(say(tick), _LEFT - 6, place + 4, "tick", "end"),
        ]
    return parts


def _draw_names(points: Sequence[Point], across: Scale) -> list[Markup]:
    chosen = spread([point.name for point in points], _NAMES)
    parts = []
    for place in chosen:
        first, last = place == 0 and len(points) > 1, place == len(points) - 1 and place > 0
        anchor = "start" if first else "end" if last else "middle"
        x = _LEFT if first else _RIGHT if last else across(place)
        kind = "tick" if place in (0, len(points) - 1) else "tick between"
        parts.append(write(shown(points[place].name, 16), x, _BOTTOM + 22, kind, anchor))
        parts.append(line(across(place), _BOTTOM, across(place), _BOTTOM + 5, "grid"))
    return parts


def _draw_limit(limit: Limit | None, down: Scale) -> list[Markup]:
    if limit is None or not is_number(limit.value):
        return []
    return [line(_LEFT, down(limit.value), _RIGHT, down(limit.value), "limit")]


def _write_limit(
    limit: Limit | None, points: Sequence[Point], across: Scale, down: Scale, say: Say
) -> list[Markup]:
    """The words of the limit, in the corner above or below it from which values keep away most."""
    if limit is None or not is_number(limit.value):
        return []
    there, middle = down(limit.value), (_LEFT + _RIGHT) / 2
    places = [
        (across(place), down(point.value))
        for place, point in enumerate(points)
        if point.value is not None and is_number(point.value)
    ]

    def room(left: bool, y: float) -> float:
        near = [abs(down_to - y) for x, down_to in places if (x < middle) == left]
        return min(near, default=100.0)

    corners = [
        (left, y) for y in (there - 7, there + 16) for left in (False, True) if _TOP < y < _BOTTOM
    ]
    left, y = max(corners, key=lambda corner: room(corner[0], corner[1] - 4))
    words = f"{limit.words} {say(limit.value)}"
    x, anchor = (_LEFT + 4, "start") if left else (_RIGHT, "end")
    return [write(words, x, y, "limit-words", anchor)]


def _runs(points: Sequence[Point]) -> list[list[int]]:
    """Places that one line joins: neighbours with a value, of the same group."""
    runs: list[list[int]] = []
    for place, point in enumerate(points):
        if not is_number(point.value):
            continue
        joined = runs and runs[-1][-1] == place - 1 and points[place - 1].group == point.group
        if joined:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _draw_band(points: Sequence[Point], across: Scale, down: Scale, joined: bool) -> list[Markup]:
    parts = []
    for run in _runs(points):
        with_interval = [
            (across(place), down(lower), down(upper))
            for place in run
            if (lower := points[place].lower) is not None
            and (upper := points[place].upper) is not None
            and is_number(lower)
            and is_number(upper)
        ]
        if joined and len(with_interval) > 1:
            there = [f"{x:.1f},{upper:.1f}" for x, _, upper in with_interval]
            back = [f"{x:.1f},{lower:.1f}" for x, lower, _ in reversed(with_interval)]
            parts.append(element("polygon", points=" ".join(there + back), class_="band"))
        parts += [line(x, lower, x, upper, "whisker") for x, lower, upper in with_interval]
    return parts


def _draw_line(points: Sequence[Point], across: Scale, down: Scale) -> list[Markup]:
    return [
        element(
            "polyline",
            points=" ".join(
                f"{across(place):.1f},{down(points[place].value or 0.0):.1f}" for place in run
            ),
            class_="series",
        )
        for run in _runs(points)
        if len(run) > 1
    ]


def _draw_groups(points: Sequence[Point], across: Scale) -> list[Markup]:
    """The name of a group where it begins, unless the one before is too near."""
    parts, before, room = [], "", float("-inf")
    for place, point in enumerate(points):
        if not is_number(point.value) or point.group == before:
            continue
        before, x = point.group, across(place)
        if place:
            edge = (across(place - 1) + x) / 2
            parts.append(line(edge, _TOP - 8, edge, _BOTTOM, "change"))
        words = shown(point.group, 14)
        if x > room:
            near_end = x > _RIGHT - 60
            anchor = "end" if near_end else "start"
            parts.append(write(words, x + (8 if near_end else -8), 14, "group", anchor))
            room = x + 7.0 * len(words)
    return parts


def _draw_points(points: Sequence[Point], across: Scale, down: Scale, say: Say) -> list[Markup]:
    parts = []
    for place, point in enumerate(points):
        if point.value is None or not is_number(point.value):
            continue
        kind = "point" + (" hollow" if point.hollow else "") + (" over" if point.over else "")
        hint = f"{shown(point.name)}: {say(point.value)}"
        if point.lower is not None and point.upper is not None:
            hint += f" [{say(point.lower)}, {say(point.upper)}]"
        parts.append(
            element(
                "circle",
                element("title", shown(hint, 200)),
                cx=across(place),
                cy=down(point.value),
                r=4,
                class_=kind,
            )
        )
    newest = max(place for place, point in enumerate(points) if is_number(point.value))
    value = points[newest].value
    if value is not None:
        y = down(value)
        above = y - 10 if y > _TOP + 14 else y + 18
        x = min(across(newest) + 16, _RIGHT + 14)
        parts.append(write(say(value), x, above, "value", "end"))
    return parts
