"""The versions, two of them side by side, and the card of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.page.charts.lines import Limit, Point, draw_lines
from api.page.missing import NotThere
from closedloop.errors import ClosedLoopError
from closedloop.turn.card import read_card
from closedloop.turn.live_at import name_decider
from closedloop.turn.open import Loop
from closedloop.turn.probation_standing import read_probation
from closedloop.views.overview import list_versions
from closedloop.views.versions import Compared, VersionLine, compare_versions, list_lines
from closedloop.views.words import outcome_of, title_of

_MOST_NEEDED = 15


def gather_versions(loop: Loop, _asked: Mapping[str, str]) -> dict[str, Any]:
    """Every version, newest first, and the two that one would compare."""
    lines = list_lines(loop)
    numbers = [line.facts.version for line in lines]
    live = next((line.facts.version for line in lines if "production" in line.facts.aliases), None)
    others = [number for number in numbers if number != live]
    return {
        "lines": lines,
        "numbers": numbers,
        "first": live if live is not None else next(iter(numbers), None),
        "second": others[0] if others else None,
        "chart": _draw_scores(lines),
        "title_of": title_of,
        "outcome_of": outcome_of,
        "author_of": name_decider,
    }


def gather_comparison(loop: Loop, asked: Mapping[str, str]) -> dict[str, Any]:
    """Two versions side by side."""
    numbers = [_number(asked.get(side, "")) for side in ("first", "second")]
    found = compare_versions(loop, *numbers)
    if found is None:
        known, _ = list_versions(loop)
        there = ", ".join(str(facts.version) for facts in known or ()) or "none yet"
        raise NotThere(f"Wanted two versions that exist: {there}.")
    return {
        "found": found,
        "first": numbers[0],
        "second": numbers[1],
        "needed": found.needed[:_MOST_NEEDED],
        "left_out": max(len(found.needed) - _MOST_NEEDED, 0),
        "chart": _draw_realised(found),
        "title_of": title_of,
    }


def gather_card(loop: Loop, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The model card of a version."""
    number = int(asked["number"])
    known, _ = list_versions(loop)
    if known is not None and number not in {facts.version for facts in known}:
        raise NotThere(f"There is no version {number}.")
    named = [facts for facts in known or () if facts.version == number]
    facts = {
        "number": number,
        "aliases": named[0].aliases if named else (),
        "status": named[0].status if named else "",
        "on_probation": _is_on_probation(loop, number),
    }
    try:
        return {**facts, "card": read_card(loop, number), "problem": ""}
    except ClosedLoopError as error:
        return {**facts, "card": None, "problem": str(error)}


def _is_on_probation(loop: Loop, number: int) -> bool:
    try:
        found = read_probation(loop)
    except ClosedLoopError:  # what is away is told elsewhere
        return False
    return found is not None and found.watched and found.version == number


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _draw_scores(lines: tuple[VersionLine, ...]) -> str:
    shown = [line for line in reversed(lines) if line.facts.val_auc is not None][-36:]
    points = [
        Point(
            f"version {line.facts.version}",
            line.facts.val_auc,
            line.interval[0] if line.interval else None,
            line.interval[1] if line.interval else None,
            hollow=not line.moves,
        )
        for line in shown
    ]
    return draw_lines("val_auc of each version", points, least=0.0, most=1.0, joined=False)


def _draw_realised(found: Compared) -> str:
    points = [
        Point(
            point.window,
            point.value,
            point.lower,
            point.upper,
            f"version {point.version}",
            hollow=point.late,
        )
        for point in sorted(
            (*found.first.realised, *found.second.realised), key=lambda point: point.decision
        )
    ]
    if not points:
        return ""
    newest = max(found.first, found.second, key=lambda side: side.line.facts.version)
    auc = newest.line.facts.val_auc
    words = f"version {newest.line.facts.version} when judged"
    limit = None if auc is None else Limit(auc, words)
    return draw_lines("Live AUC while each was in production", points, limit, least=0.0, most=1.0)
