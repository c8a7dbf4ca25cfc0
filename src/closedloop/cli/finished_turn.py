"""A turn as the journal has it: its decision, the quarantines before it, and what followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from closedloop.cli.turn_summary import TurnSummary, summarise
from closedloop.decisions.checks import Kind
from closedloop.storage.entry import Entry
from closedloop.turn.moved_aliases import tell_outside
from closedloop.turn.open import Loop


@dataclass(frozen=True)
class FinishedTurn:
    """The decisions of one turn, in the order in which they were made, and its summary.

    `moved` tells which aliases stand elsewhere than the journal put them, and what was done about
    those that stood elsewhere.
    """

    quarantines: tuple[Entry, ...]
    first: Entry
    following: tuple[Entry, ...]
    summary: TurnSummary
    moved: tuple[str, ...] = ()

    @property
    def newly_moved(self) -> tuple[str, ...]:
        """What the notes of the turn do not say."""
        return tuple(told for told in self.moved if told not in self.first.turn.notes)

    def as_json(self) -> dict[str, Any]:
        """What `monitor --json` and `train --json` print."""
        return {
            **self.first.as_json(),
            "quarantine": [entry.as_json() for entry in self.quarantines],
            "led_to": [entry.as_json() for entry in self.following],
            "summary": self.summary.as_json(),
            "moved": list(self.moved),
        }


def read_turn(loop: Loop, number: int) -> FinishedTurn:
    """The turn whose decision has this number."""
    entries = loop.journal.history(loop.use_case.name)
    first = loop.journal.entry(number)
    quarantines = [entry for entry in entries if is_quarantine_of(entry, first)][-1:]
    quarantines += [entry for entry in entries if _is_heard_in(entry, first)]
    following = _find_following(entries, first)
    summary = summarise(loop, [first, *following])
    moved = (*loop.tell_moved(), *tell_outside(entries, first.decision.window))
    return FinishedTurn(tuple(quarantines), first, following, summary, moved)


def _find_following(entries: Sequence[Entry], first: Entry) -> tuple[Entry, ...]:
    """What a decision led to, and what that led to: a candidate, and a person's answer to it."""
    led = {first.id}
    for entry in entries:
        if entry.cause in led:
            led.add(entry.id)
    return tuple(entry for entry in entries if entry.id in led - {first.id})


def is_quarantine_of(entry: Entry, turn: Entry) -> bool:
    """Whether `entry`, written before `turn`, quarantines the window that `turn` judged."""
    realised = turn.turn.realised
    return (
        realised is not None
        and bool(realised.quarantined)
        and entry.id < turn.id
        and entry.decision.kind is Kind.QUARANTINE
        and entry.decision.window == realised.realised_on
    )


def _is_heard_in(entry: Entry, turn: Entry) -> bool:
    """Whether `entry` decides on a window in quarantine, with the window of `turn` as witness."""
    witness, judged = entry.turn.realised, turn.turn.realised
    return (
        entry.decision.kind is Kind.QUARANTINE
        and entry.id < turn.id
        and witness is not None
        and judged is not None
        and witness.realised_on == judged.realised_on
    )
