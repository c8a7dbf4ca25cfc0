"""Windows whose rows are not those that an earlier turn looked at."""

from __future__ import annotations

from closedloop.decisions.checks import Kind
from closedloop.storage.details import WindowFacts
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.ports import P

# Each is read again.
_NEWEST = 12


def tell_changed_windows(history: History[P]) -> tuple[str, ...]:
    """A sentence for each of the newest windows looked at that has changed since, oldest first.

    Only decisions under the present loop.toml count. Labels that came later are no change.
    """
    fingerprint = history.loop.use_case.fingerprint
    looked_at: dict[str, Entry] = {}
    for entry in history.entries:
        known = entry.decision.window in history.names and f"/{fingerprint}" in entry.key
        if known and entry.decision.kind is Kind.RETRAINING and entry.turn.window is not None:
            looked_at[entry.decision.window] = entry
    newest = [name for name in history.names if name in looked_at][-_NEWEST:]
    found = ((looked_at[name], describe(history, name)) for name in newest)
    return tuple(
        _tell(entry, then, now)
        for entry, now in found
        if (then := entry.turn.window) is not None and _changed(then, now)
    )


def describe(history: History[P], name: str) -> WindowFacts:
    """What the journal would keep of a window as it is now."""
    facts = history.read(name).facts
    return WindowFacts(facts.rows, facts.labelled_rows, facts.digest)


def _changed(then: WindowFacts, now: WindowFacts) -> bool:
    labels_came = then.rows == now.rows and (then.labelled_rows or 0) < (now.labelled_rows or 0)
    return then.digest is not None and then.digest != now.digest and not labels_came


def _tell(entry: Entry, then: WindowFacts, now: WindowFacts) -> str:
    what = (
        f"{now.rows:,} rows, then {then.rows:,}"
        if now.rows != then.rows
        else f"other values in its {now.rows:,} rows"
    )
    return f"{entry.decision.window} has changed since decision {entry.id}: {what}"
