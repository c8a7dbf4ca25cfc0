"""The candidate that waits for a person."""

from __future__ import annotations

from closedloop.decisions.checks import Kind
from closedloop.storage.journal import Journal

# What leaves a candidate to a person, in the words of `Action`.
_WAITING = ("wait", "escalate")


def find_waiting_candidate(journal: Journal, use_case: str) -> int | None:
    """The version of the newest decision on a candidate, if that is left to a person.

    Whatever is decided on a candidate afterwards ends the wait. Raises StoreError.
    """
    entry = journal.newest(use_case, Kind.PROMOTION)
    if entry is None or entry.outcome == "superseded":
        return None
    return entry.decision.version if entry.decision.action.value in _WAITING else None
