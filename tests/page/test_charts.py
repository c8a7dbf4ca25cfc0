"""Charts: whole XML whatever they are given, words for what they show, no script and no style."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from api.page.charts.bars import (
    Bar,
    draw_bars,
    draw_bullet,
    draw_categories,
    draw_histograms,
)
from api.page.charts.lines import Limit, Point, draw_lines
from api.page.charts.svg import Scale, make_scale, say_number
from api.page.timeline import draw_check
from closedloop.decisions.checks import Numbers, Role, make_check

NAN, INF = float("nan"), float("inf")
HOSTILE = "</title></svg><script>alert(1)</script>\u202e\x00" + "x" * 10_000


def parse(chart: str) -> ET.Element:
    """The chart as a browser reads it: whole, with a title, and nothing that acts."""
    root = ET.fromstring(chart)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root[0].tag == "title"
    for part in root.iter():
        assert part.tag not in ("script", "style", "foreignObject", "a")
        assert not [name for name in part.attrib if name == "style" or name.startswith("on")]
        for name in ("x", "y", "cx", "cy", "width", "height", "x1", "x2", "y1", "y2", "points"):
            assert "nan" not in part.get(name, "")
            assert "inf" not in part.get(name, "")
    return root


def texts(root: ET.Element) -> list[str]:
    return [part.text or "" for part in root.iter("text")]


def circles(root: ET.Element) -> list[ET.Element]:
    return list(root.iter("circle"))


@pytest.mark.parametrize(
    "values",
    [[], [None], [NAN], [0.5], [0.5, 0.5], [0.4, None, 0.6], [NAN, 1.0, INF], [1e308, -1e308]],
)
def test_a_line_is_whole_whatever_its_values_are(values: Sequence[float | None]) -> None:
    """No value, one, gaps, what is no number and the largest numbers: a point for each known one,
    and words when there is none."""
    points = [Point(f"w{place}", value) for place, value in enumerate(values)]
    root = parse(draw_lines("AUC", points, Limit(0.5, "limit")))
    known = [value for value in values if value is not None and abs(value) < INF]
    assert len(circles(root)) == len(known)
    assert known or "Nothing was measured yet." in texts(root)


def test_a_line_says_its_groups_its_limit_and_its_newest_value() -> None:
    """Labels stand at the line itself; what came late is hollow, and a gap is not bridged."""
    points = [
        Point("w1", 0.8, 0.7, 0.9, "version 1"),
        Point("w2", 0.81, 0.7, 0.9, "version 1", hollow=True),
        Point("w3", None),
        Point("w4", 0.7, 0.6, 0.8, "version 2"),
    ]
    root = parse(draw_lines("AUC", points, Limit(0.75, "limit"), least=0, most=1))
    assert {"version 1", "version 2", "limit 0.75", "0.7", "w1", "w4"} <= set(texts(root))
    assert [part.get("class") for part in circles(root)] == ["point", "point hollow", "point"]
    assert len(list(root.iter("polyline"))) == 1
    assert len(list(root.iter("polygon"))) == 1
    assert "from w1 to w4" in (root.get("aria-label") or "")


@pytest.mark.parametrize(
    "chart",
    [
        draw_lines(HOSTILE, [Point(HOSTILE, 1.0, group=HOSTILE)], Limit(1, HOSTILE)),
        draw_bars(HOSTILE, [Bar(HOSTILE, 1.0)], HOSTILE),
        draw_bullet(HOSTILE, 1.0, 2.0, verdict=HOSTILE),
        draw_categories(HOSTILE, [HOSTILE], ([0.5, 0.5], [1, 0]), (HOSTILE, HOSTILE), [HOSTILE]),
        draw_histograms(HOSTILE, [0.0, 1.0], ([0, 1, 0], [0, 0, 1]), (HOSTILE, HOSTILE)),
    ],
)
def test_names_from_outside_stay_text(chart: str) -> None:
    """A tag in a name closes nothing, and a name has the room that there is."""
    parse(chart)
    assert "<script" not in chart
    assert "\u202e" not in chart
    assert len(chart) < 40_000


@pytest.mark.parametrize(
    ("value", "limit", "lower", "upper"),
    [
        (0.2, 0.3, None, None),
        (0.0, 0.0, None, None),
        (-0.01, 0.0, -0.02, 0.01),
        (5000, 30, None, None),
        (1.0, None, None, None),
        (1.0, NAN, NAN, INF),
        (1e308, -1e308, None, None),
        (3e-9, 1e-5, None, None),
    ],
)
def test_a_value_is_drawn_on_its_side_of_the_limit(
    value: float, limit: float | None, lower: float | None, upper: float | None
) -> None:
    """The dot is left of the limit's line where the value is less, right of it where it is more."""
    root = parse(draw_bullet("drift_share", value, limit, lower, upper, "holds"))
    dot = float(circles(root)[0].get("cx", ""))
    lines = [part for part in root.iter("line") if part.get("class") == "limit"]
    if limit is None or limit != limit:
        assert not lines
        return
    place = float(lines[0].get("x1", ""))
    if abs(value) < 1e300:
        assert (dot < place, dot > place) == (value < limit, value > limit)


@pytest.mark.parametrize("value", [None, NAN, INF])
def test_without_a_value_there_is_no_bullet(value: float | None) -> None:
    """A check that measured nothing has no picture."""
    assert draw_bullet("drift", value, 0.3) == ""


def test_distributions_have_a_bar_for_each_bin_and_mark_what_is_new() -> None:
    """One bar a bin for the window over the outline of the reference; a new category says so."""
    root = parse(
        draw_histograms("x", [0.0, 1.0, 2.0], ([0, 0.5, 0.5, 0], [0.1, 0, 0, 0.9]), ("a", "b"))
    )
    bars = [part for part in root.iter("rect") if part.get("class") == "bar now"]
    assert len(bars) == 4 + 1  # and one in the key
    heights = [float(bar.get("height", "")) for bar in bars[:4]]
    assert heights[3] == max(heights)
    named = parse(draw_categories("x", ["red"], ([0, 1], [1, 0]), ("a", "b"), ["red"]))
    assert {"red (new)", "all others", "100.0%"} <= set(texts(named))
    assert "There are no values." in texts(parse(draw_histograms("x", [], ([], []), ("a", "b"))))
    assert "There are no values." in texts(parse(draw_categories("x", [], ([], []), ("a", "b"))))


def test_scales_keep_their_values_and_numbers_are_short() -> None:
    """Every value is within the drawing, also far outside of the scale."""
    scale = make_scale([0.2, 0.8], 0, 100)
    assert 0 < scale(0.2) < scale(0.8) < 100
    assert scale(1e300) == 100
    assert Scale(0, 1, 10, 20).ticks() == [0, 0.25, 0.5, 0.75, 1]
    assert [say_number(value) for value in (None, NAN, 3, 0.12345, 12345.6, 1e-7)] == [
        "–",
        "–",
        "3",
        "0.1235",
        "12,346",
        "1.0e-07",
    ]


def test_the_dot_of_a_check_is_marked_where_its_limit_was_passed() -> None:
    """A trigger that holds and a gate that fails have passed theirs; a note that holds has not."""

    def mark(role: Role, holds: bool | None) -> str:
        check = make_check("c", holds, role, "w", "g", numbers=Numbers(0.4, 0.3))
        return circles(parse(draw_check(check)))[0].get("class", "")

    assert mark(Role.TRIGGER, True) == mark(Role.GATE, False) == "point fails"
    assert mark(Role.TRIGGER, False) == mark(Role.GATE, True) == mark(Role.NOTE, True)
    assert mark(Role.NOTE, True) == "point holds"
    assert mark(Role.GATE, None) == "point unknown"
    assert draw_check(make_check("c", True, Role.GATE, "w", "g")) == ""
    assert draw_check(make_check("c", True, Role.NOTE, "w", "g", numbers=Numbers(0.4))) == ""
