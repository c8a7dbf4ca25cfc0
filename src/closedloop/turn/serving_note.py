"""A service notes in the journal that it began to answer with a version."""

from __future__ import annotations

from datetime import UTC, datetime

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.storage.details import ServingDetails
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.live_at import find_move_to
from closedloop.turn.moved_aliases import KINDS


def note_serving(
    journal: Journal, use_case: str, version: int, *, window: str, where: str, started: str
) -> Entry:
    """Write down that the service `where` began to answer with a version, once for each move to it.

    The service was started at `started`, the version trained for `window`.
    """
    serving = Check(
        "loaded and tried on its own rows",
        Outcome.HOLDS,
        Role.NOTE,
        "the answers of the fitted model",
        "the same",
    )
    decision = Decision(Kind.SERVING, Action.SERVE, window, (serving,), version)
    moves = journal.history(use_case, kinds=KINDS)
    # Its decision is written before a version is live: all workers of a service find the same.
    move = find_move_to(moves, version, datetime.max.replace(tzinfo=UTC))
    after = "" if move is None else f"/after-{move.id}"
    entry = journal.write(
        f"{use_case}/serving/{where}/{version}/{started}{after}",
        use_case,
        decision,
        details=ServingDetails(where),
    )
    journal.carried_out(entry)
    return entry
