"""Which windows a loop has still to look at."""

from __future__ import annotations

from collections.abc import Sequence

from closedloop.decisions.checks import Action, Kind
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.history import ACCEPTED, History
from closedloop.turn.ports import Parts


def find_waiting(loop: Parts, windows: Sequence[str]) -> tuple[str, ...]:
    """Those of `windows` whose rows, as they are now, had no turn yet, or one that was cut off.

    A window that was judged under an earlier loop.toml is not judged again, unless it broke the
    contract then.
    """
    entries = loop.journal.history(loop.use_case.name)
    return tuple(window for window in windows if _is_waiting(loop, window, entries))


def _is_waiting(loop: Parts, window: str, entries: Sequence[Entry]) -> bool:
    turns = [
        entry
        for entry in entries
        if entry.decision.window == window and entry.origin is not Origin.PERSON and _ends(entry)
    ]
    if not turns:
        return True  # known without reading the window
    history = History(loop, window)
    # Windows that were looked at before a person accepted another state are not looked at again.
    keys = {_before_acceptance(history.key(kind)) for kind in ("retraining", "rollback")}
    same = [entry for entry in turns if _before_acceptance(entry.key) in keys]
    if same:
        return all(entry.outcome is None for entry in same)
    rows = {_without_loop_toml(key) for key in keys}
    return not any(
        _without_loop_toml(_before_acceptance(entry.key)) in rows
        and entry.decision.action is not Action.ESCALATE
        for entry in turns
    )


def _ends(entry: Entry) -> bool:
    """Whether the decision ends a turn: the one on retraining, or a rollback."""
    decision = entry.decision
    return decision.kind is Kind.RETRAINING or decision.action is Action.ROLLBACK


def _before_acceptance(key: str) -> str:
    """The key that the decision would have without an acceptance before it."""
    return key.partition(ACCEPTED)[0]


def _without_loop_toml(key: str) -> str:
    """The key of a decision without its last part, which stands for loop.toml."""
    return key.rpartition("/")[0]
