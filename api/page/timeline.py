"""The decisions, and one of them with everything behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.page.charts.bars import draw_bullet
from api.page.missing import NotThere
from closedloop.decisions.checks import Check, Outcome, Role
from closedloop.turn.live_at import name_decider
from closedloop.turn.open import Loop
from closedloop.views.timeline import find_decision, read_timeline
from closedloop.views.words import brief_reason, outcome_of, reason_of, title_of

# What each answer of a check is called, for a demand and for a question.
ANSWERS = {
    "holds": "holds",
    "fails": "does not hold",
    "unknown": "not known",
    "yes": "yes",
    "no": "no",
}
WORDS = {
    "title_of": title_of,
    "author_of": name_decider,
    "brief_reason": brief_reason,
    "outcome_of": outcome_of,
    "reason_of": reason_of,
}


def gather_timeline(loop: Loop, asked: Mapping[str, str]) -> dict[str, Any]:
    """One page of the decisions, the newest first."""
    wanted = asked.get("page", "1")
    number = int(wanted[:9]) if wanted.isascii() and wanted.isdigit() else 1
    return {"timeline": read_timeline(loop, number), **WORDS}


def gather_decision(loop: Loop, asked: Mapping[str, Any]) -> dict[str, Any]:
    """One decision with its checks, each with a small chart where it compares numbers."""
    number = int(asked["number"])
    found = find_decision(loop, number)
    if found is None:
        raise NotThere(f"There is no decision {number} about {loop.use_case.name}.")
    return {"found": found, "answers": ANSWERS, "draw_check": draw_check, **WORDS}


def draw_check(check: Check) -> str:
    """What was measured against its limit; empty for a check without both numbers."""
    numbers = check.numbers
    if numbers is None or numbers.limit is None:
        return ""
    # A trigger that holds has passed its limit; anything else should hold.
    passed = Outcome.HOLDS if check.role is Role.TRIGGER else Outcome.FAILS
    verdict = "fails" if check.outcome is passed else "holds"
    return draw_bullet(
        check.claim,
        numbers.value,
        numbers.limit,
        numbers.lower,
        numbers.upper,
        "unknown" if check.outcome is Outcome.UNKNOWN else verdict,
    )
