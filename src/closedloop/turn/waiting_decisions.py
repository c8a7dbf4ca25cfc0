"""Which decisions wait for a person, by the journal."""

from __future__ import annotations

from collections.abc import Iterable

from closedloop.decisions.checks import Action
from closedloop.storage.entry import Entry


def answer_key(wait: Entry) -> str:
    """The key of the one answer to a decision."""
    return f"{wait.use_case}/approval/{wait.id}"


def read_waiting(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The decisions that wait for an answer, oldest first, among all those of a use case."""
    found = tuple(entries)
    answered = {entry.key for entry in found}
    return tuple(entry for entry in found if is_open(entry) and answer_key(entry) not in answered)


def is_open(entry: Entry) -> bool:
    """Whether a decision asked a person and is not settled; its answer may be written already."""
    return entry.decision.action is Action.WAIT and entry.outcome is None
