"""Where the data left the reference: a table of columns by window, and one column."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from api.page.charts.bars import draw_bullet, draw_categories, draw_histograms
from api.page.charts.lines import Limit, Point, draw_lines
from api.page.charts.svg import say_number
from api.page.missing import NotThere
from closedloop.turn.distributions import Distribution
from closedloop.turn.open import Loop
from closedloop.views.drift import ColumnFacts, DriftTurn, find_column, nearness, read_drift_table

# From which distance, in units of the limit, a cell has which shade.
_SHADES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.5)


def gather_drift(loop: Loop, _asked: Mapping[str, str]) -> dict[str, Any]:
    """The heat map: each column's distance in each window, in units of its limit."""
    return {
        "table": read_drift_table(loop),
        "nearness": nearness,
        "shade_of": shade_of,
        "link_to": link_to,
        "say_number": say_number,
    }


def gather_column(loop: Loop, asked: Mapping[str, str]) -> dict[str, Any]:
    """One column in one window: its distance by window, and its two distributions."""
    name = asked.get("name", "")
    found = find_column(loop, name, asked.get("window") or None)
    if found is None:
        raise NotThere("No turn has measured such a column in such a window.")
    drift, shares = found.drift, [nearness(cell) for cell in found.row.cells]
    points = [
        Point(turn.window, value, over=bool(cell and cell.drifted))
        for turn, value, cell in zip(found.turns, shares, found.row.cells, strict=True)
    ]
    title = "Distance from the reference, in units of the limit"
    return {
        "found": found,
        "turn": found.turns[found.place],
        "drift": drift,
        "link_to": link_to,
        "say_number": say_number,
        "nearness": nearness,
        "line": draw_lines(title, points, Limit(1.0, "limit"), least=0.0),
        "bullet": draw_bullet(
            "Distance and limit", drift.score, drift.limit, verdict=_verdict(found)
        )
        if drift
        else "",
        "chart": draw_distribution(found.distribution, found.turns[found.place]),
        "shown_rows": [
            (name, f"{before:.1%}", f"{now:.1%}")
            for name, before, now in list_shares(found.distribution)
        ],
    }


def shade_of(value: float | None) -> str:
    """The class of a cell: shade-0, far below the limit, to shade-6; empty where unknown."""
    if value is None or value != value:
        return "unknown"
    return f"shade-{sum(1 for limit in _SHADES if value >= limit)}"


def link_to(column: str, window: str | None = None) -> str:
    """The address of a column, in a window if one is given."""
    asked = {"name": column, **({} if window is None else {"window": window})}
    return f"/drift/column?{urlencode(asked)}"


def draw_distribution(found: Distribution | None, turn: DriftTurn) -> str:
    """The two distributions of a column; empty where they were not kept."""
    if found is None:
        return ""
    names = (turn.reference or "reference", turn.window)
    shares = (found.reference.shares, found.current.shares)
    title = "How the values are distributed"
    if found.edges:
        return draw_histograms(title, found.edges, shares, names)
    return draw_categories(title, found.categories, shares, names, found.new_categories)


def list_shares(found: Distribution | None) -> list[tuple[str, float, float]]:
    """The same as rows of a table: a bin or a category, and its share on both sides."""
    if found is None:
        return []
    if found.edges:
        edges = [say_number(edge) for edge in found.edges]
        between = [f"{low} to {high}" for low, high in pairwise(edges)]
        names = [f"below {edges[0]}", *between, f"{edges[-1]} and more"]
    else:
        names = [*found.categories, "all others"]
    return list(zip(names, found.reference.shares, found.current.shares, strict=True))


def _draw_distance(found: ColumnFacts) -> str:
    drift = found.drift
    if drift is None:
        return ""
    return draw_bullet("Distance and limit", drift.score, drift.limit, verdict=_verdict(found))


def _verdict(found: ColumnFacts) -> str:
    drifted = found.drift.drifted if found.drift else None
    return "unknown" if drifted is None else "fails" if drifted else "holds"
