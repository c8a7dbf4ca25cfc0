"""The candidate that waits for a person."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Kind
from closedloop.storage.journal import Journal
from closedloop.turn.waiting_decisions import read_waiting


class WaitingCandidate:
    """Finds the newest candidate that is left to a person, again and again, for a service.

    That is one whose approval is asked for, or the newest one if a person was called. Most times it
    reads a single row: only a new decision on a candidate, or another outcome, changes who waits.
    """

    def __init__(self, journal: Journal, use_case: str) -> None:
        self._journal, self._use_case = journal, use_case
        self._seen: tuple[int, str | None] | None = None
        self._found: int | None = None

    def find(self) -> int | None:
        """Its version, if there is one; raises StoreError when the journal cannot be read."""
        newest = self._journal.newest(self._use_case, Kind.PROMOTION)
        if newest is None:
            return None
        if self._seen != (newest.id, newest.outcome):
            self._found = self._look()
            self._seen = newest.id, newest.outcome
        return self._found

    def _look(self) -> int | None:
        entries = self._journal.history(self._use_case, kinds=[Kind.PROMOTION])
        last = entries[-1]
        if last.decision.action is Action.ESCALATE and last.outcome != "superseded":
            return last.decision.version
        return next((entry.decision.version for entry in reversed(read_waiting(entries))), None)
