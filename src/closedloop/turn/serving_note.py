"""A service notes in the journal that it began to answer with a version."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.storage.details import ServingDetails
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal


def note_serving(
    journal: Journal, use_case: str, version: int, *, window: str, where: str, started: str
) -> Entry:
    """Write down, once, that the service `where` began to answer with a version.

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
    entry = journal.write(
        f"{use_case}/serving/{where}/{version}/{started}",
        use_case,
        decision,
        details=ServingDetails(where),
    )
    journal.carried_out(entry)
    return entry
