"""Pruning on a schedule: what would be deleted is shown by one run, and deleted by a later one.

Both results are kept with the journal, for `closedloop status` and the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from closedloop.json_text import read_json
from closedloop.operations.prune import KeepRules, Pruning, prune, tell_pruning
from closedloop.storage.alert_book import utc_now
from closedloop.storage.loop_notes import LoopNotes
from closedloop.turn.open import Loop

_SHOWN, _DELETED = "pruning shown", "pruning deleted"


@dataclass(frozen=True)
class Kept:
    """A result of pruning as it was kept: by which rules, when, and its lines for people."""

    at: datetime
    rules: KeepRules
    lines: tuple[str, ...]
    found: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For programs; `found` is what `closedloop prune --json` prints."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "rules": asdict(self.rules),
            "lines": list(self.lines),
            "found": self.found,
        }


@dataclass(frozen=True)
class Housekeeping:
    """What the last runs showed and deleted, and whether the next one deletes what is shown."""

    shown: Kept | None
    deleted: Kept | None
    enabled: bool
    cron: str

    def as_json(self) -> dict[str, Any]:
        """For `closedloop status --json`."""
        return {
            "cron": self.cron or None,
            "enabled": self.enabled,
            "shown": self.shown and self.shown.as_json(),
            "deleted": self.deleted and self.deleted.as_json(),
            "told": self.tell(),
        }

    def tell(self) -> list[str]:
        """Sentences for people: what was deleted, and what would be."""
        told = [
            f"housekeeping on {kept.at:%Y-%m-%d %H:%M} UTC: {'; '.join(kept.lines)}"
            for kept in (self.deleted, self.shown)
            if kept is not None
        ]
        if self.shown is not None and not self.enabled:
            told.append("housekeeping deletes nothing by itself: [housekeeping] is not enabled")
        return told


def policy_rules(loop: Loop) -> KeepRules:
    """How much [housekeeping] keeps."""
    policy = loop.use_case.housekeeping
    reports = loop.settings.keep_reports if policy.keep_reports is None else policy.keep_reports
    return KeepRules(policy.keep_versions, reports, policy.keep_days_of_records)


def read_housekeeping(loop: Loop, clock: Callable[[], datetime] = utc_now) -> Housekeeping:
    """What the last runs kept; nothing is looked for anew."""
    notes, policy = LoopNotes(loop.engine, loop.use_case.name, clock), loop.use_case.housekeeping
    return Housekeeping(_read(notes, _SHOWN), _read(notes, _DELETED), policy.enabled, policy.cron)


def show_pruning(loop: Loop, clock: Callable[[], datetime] = utc_now) -> Kept:
    """Look for what [housekeeping] would delete, and keep that; deletes nothing.

    Raises RegistryError or StoreError when MLflow or the database cannot be reached.
    """
    return _keep(loop, _SHOWN, prune(loop, policy_rules(loop), dry_run=True), clock)


def keep_house(loop: Loop, clock: Callable[[], datetime] = utc_now) -> tuple[Kept | None, Kept]:
    """A scheduled run: delete, if an earlier run has shown it, and show what is left to delete.

    Deletes only where [housekeeping] is enabled, and only by rules that an earlier run has shown:
    people see what goes before it goes. Raises as `show_pruning`.
    """
    before, deleted = read_housekeeping(loop, clock), None
    rules = policy_rules(loop)
    if before.enabled and before.shown is not None and before.shown.rules == rules:
        deleted = _keep(loop, _DELETED, prune(loop, rules), clock)
    return deleted, show_pruning(loop, clock)


def _keep(loop: Loop, name: str, found: Pruning, clock: Callable[[], datetime]) -> Kept:
    lines = tell_pruning(found, dry_run=name == _SHOWN)
    text = {"rules": asdict(policy_rules(loop)), "lines": lines, "found": found.as_json()}
    notes = LoopNotes(loop.engine, loop.use_case.name, clock)
    notes.write(name, json.dumps(text))
    kept = _read(notes, name)
    assert kept is not None
    return kept


def _read(notes: LoopNotes, name: str) -> Kept | None:
    note = notes.read(name)
    if note is None:
        return None
    text = read_json(note.text)
    return Kept(note.at, KeepRules(**text["rules"]), tuple(text["lines"]), text["found"])
