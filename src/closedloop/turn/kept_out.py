"""Which windows are kept out of training, by the decisions in the journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from closedloop.decisions.checks import Action, Kind
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin


@dataclass(frozen=True)
class Standing:
    """What was decided last on a window that was ever kept out of training.

    `settled` says that it needs no witness any more: one was heard, or a person decided. `entry`
    is that decision, or the turn of an older version that only noted it.
    """

    window: str
    out: bool
    settled: bool
    entry: Entry

    @property
    def because(self) -> str:
        """Why, in one line."""
        decided = self.entry.decision
        known = decided.kind is Kind.QUARANTINE
        return decided.reason if known else "production did far worse than before"

    @property
    def decided_by(self) -> str:
        """Who decided last."""
        return "a person" if self.entry.origin is Origin.PERSON else "the loop"


def read_standings(entries: Iterable[Entry]) -> dict[str, Standing]:
    """Every window that was ever kept out of training, and how it stands now."""
    found: dict[str, Standing] = {}
    for entry in entries:
        window, action = entry.decision.window, entry.decision.action
        noted = entry.turn.realised
        if entry.decision.kind is Kind.QUARANTINE:
            waits = action is Action.QUARANTINE and entry.origin is not Origin.PERSON
            out = action is not Action.RELEASE
            found[window] = Standing(window, out, not waits, entry)
        elif noted is not None and noted.quarantined and noted.realised_on:
            # Before a quarantine was a decision, the turn that judged the window noted it.
            first = Standing(noted.realised_on, True, False, entry)
            found.setdefault(noted.realised_on, first)
    return found


def tell_kept_out(standing: Standing) -> str:
    """One line about a window that is kept out, with what a person can do."""
    window = standing.window
    then = f"to train on it all the same: closedloop quarantine release {window}"
    if not standing.settled:
        then = (
            f"release it with: closedloop quarantine release {window}, or the next labelled "
            "window decides"
        )
    return f"{window} is kept out of training: {standing.because}; {then}"


def read_kept_out(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Every window that is kept out of training, as `closedloop quarantine --json` prints it."""
    return [
        {
            "window": standing.window,
            "because": standing.because,
            "settled": standing.settled,
            "decision": standing.entry.id,
            "told": tell_kept_out(standing),
        }
        for standing in read_standings(entries).values()
        if standing.out
    ]
