"""What the key of a decision depends on in the journal: the same key is the same decision."""

from __future__ import annotations

from collections.abc import Container, Sequence

from closedloop.decisions.checks import Action, Kind
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin

ACCEPTED = "/accepted-"  # in a key, before the id of the acceptance


def find_acceptance(entries: Sequence[Entry]) -> int | None:
    """The newest decision by which a person accepted what registry and journal hold."""
    accepted = (entry.id for entry in entries if entry.decision.action is Action.ACCEPT)
    return max(accepted, default=None)


def list_by_hand(entries: Sequence[Entry], names: Container[str]) -> tuple[int, ...]:
    """What people decided on quarantines of windows in `names`: then a turn decides again."""
    return tuple(
        entry.id
        for entry in entries
        if entry.decision.kind is Kind.QUARANTINE
        and entry.origin is Origin.PERSON
        and entry.decision.window in names
    )


def after_superseded(key: str, entries: Sequence[Entry]) -> str:
    """The key, with the newest decision behind it that was written under it and superseded."""
    lost = [
        entry.id
        for entry in entries
        if entry.outcome == "superseded"
        and (entry.key == key or entry.key.startswith(f"{key}/after-"))
    ]
    return key + "".join(f"/after-{number}" for number in lost[-1:])
