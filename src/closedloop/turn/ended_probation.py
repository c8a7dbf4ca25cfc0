"""How the end of a probation looks in the journal."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Kind
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin


def is_end_of_probation(entry: Entry) -> bool:
    """Whether a person ended the probation of a version with this decision."""
    decision = entry.decision
    return (
        decision.kind is Kind.ROLLBACK
        and decision.action is Action.KEEP
        and entry.origin is Origin.PERSON
    )
