"""How the service's model did since a promotion, and how that of the version before did."""

from __future__ import annotations

from datetime import timedelta

from closedloop.decisions.checks import Action
from closedloop.decisions.rollback_evidence import Served
from closedloop.records.call_counts import next_minute
from closedloop.records.store import Records
from closedloop.storage.journal import Journal
from closedloop.turn.moved_aliases import KINDS, last_settled

# How far back the version before counts: a week, with its nights and its week-end.
_BEFORE = timedelta(days=7)


def compare_served(
    records: Records,
    journal: Journal,
    use_case: str,
    production: int | None,
    previous: int | None,
) -> tuple[Served | None, Served | None]:
    """Calls of production since its promotion, and of `previous` in the week before that.

    None for both unless the newest move was a promotion of `production`. Minutes are whole: the one
    of the promotion belongs to neither.
    """
    moved = last_settled(journal.history(use_case, kinds=KINDS))
    if moved is None or production is None or previous is None:
        return None, None
    if (moved.decision.action, moved.decision.version) != (Action.PROMOTE, production):
        return None, None
    since, until = next_minute(moved.at), moved.at.replace(second=0, microsecond=0)
    ours = records.read_served(use_case, production, since)
    theirs = records.read_served(use_case, previous, until - _BEFORE, until)
    return (
        Served(production, ours.calls, ours.failed, ours.median_ms) if ours.calls else None,
        Served(previous, theirs.calls, theirs.failed, theirs.median_ms) if theirs.calls else None,
    )
