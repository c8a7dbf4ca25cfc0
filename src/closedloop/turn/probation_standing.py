"""What is on probation, by the decisions in the journal: since when, until when, what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import ClosedLoopError
from closedloop.storage.entry import Entry
from closedloop.turn.ended_probation import is_end_of_probation
from closedloop.turn.moved_aliases import Live, find_way_back, last_settled
from closedloop.turn.open import Loop


@dataclass(frozen=True)
class Standing:
    """A promotion that is, or was, watched.

    `passed` are the windows since that a source or the journal knows, of `windows` to be watched.
    `looks` are the decisions to keep it, oldest first, `ended` that of a person to watch it no
    longer.
    """

    version: int
    previous: int
    promotion: Entry
    passed: int
    windows: int
    looks: tuple[Entry, ...]
    ended: Entry | None

    @property
    def watched(self) -> bool:
        """Whether it can still be taken back by itself."""
        return self.ended is None and self.passed <= self.windows


def read_probation(loop: Loop) -> Standing | None:
    """The newest promotion, if it is live and replaced a version that one could go back to.

    None where rollback is switched off: nothing is watched then.
    """
    rules = loop.use_case.policy.rollback
    live = Live(loop.registry.production(), loop.registry.previous())
    entries = loop.journal.history(loop.use_case.name)
    moved, back = last_settled(entries), find_way_back(entries, live)
    if moved is None or back is None or live.production is None or not rules.enabled:
        return None
    if (moved.decision.action, moved.decision.version) != (Action.PROMOTE, live.production):
        return None
    since = [
        entry
        for entry in entries
        if entry.id > moved.id
        and entry.decision.kind is Kind.ROLLBACK
        and entry.decision.version == live.production
    ]
    ended = next((entry for entry in reversed(since) if is_end_of_probation(entry)), None)
    return Standing(
        live.production,
        back,
        moved,
        _count_passed(loop, moved.decision.window, entries),
        rules.probation_windows,
        tuple(entry for entry in since if not is_end_of_probation(entry)),
        ended,
    )


def _count_passed(loop: Loop, window: str, entries: Iterable[Entry]) -> int:
    """Windows after the one of the promotion: those of the source, or those that were looked at."""
    try:
        names: Sequence[str] = loop.source.windows()
    except ClosedLoopError:  # the source is away, which is no reason to say nothing
        names = ()
    if window in names:
        return len(names) - 1 - names.index(window)
    looked_at = [entry.decision.window for entry in entries if entry.turn.window is not None]
    distinct = list(dict.fromkeys(looked_at))
    return len(distinct) - 1 - distinct.index(window) if window in distinct else 0


def tell_probation(found: Standing) -> list[str]:
    """A line about what is watched, one about each look, and what a person can do."""
    since = found.promotion
    before = f"version {found.version} replaced version {found.previous} in {since.decision.window}"
    if found.ended is not None:
        by = found.ended.by or "a person"
        return [f"{before}; {by} ended its probation (decision {found.ended.id}): {_why(found)}"]
    if not found.watched:
        return []
    left = found.windows - found.passed
    until = (
        "this window is the last" if left == 0 else f"{left} more window{'s' if left > 1 else ''}"
    )
    lines = [
        f"on probation: {before} (decision {since.id}, {since.at:%Y-%m-%d %H:%M} UTC); {until}; "
        'to end it: closedloop probation end --reason "..."'
    ]
    return lines + [f"{look.decision.window}: {look.decision.reason}" for look in found.looks]


def _why(found: Standing) -> str:
    assert found.ended is not None
    return found.ended.why or found.ended.decision.reason


def describe_probation(found: Standing | None) -> dict[str, Any] | None:
    """What `closedloop probation --json` and `closedloop status --json` print."""
    if found is None:
        return None
    return {
        "version": found.version,
        "previous": found.previous,
        "watched": found.watched,
        "since": found.promotion.at.isoformat(timespec="seconds"),
        "since_window": found.promotion.decision.window,
        "decision": found.promotion.id,
        "passed_windows": found.passed,
        "probation_windows": found.windows,
        "seen": [
            {"decision": look.id, "window": look.decision.window, "reason": look.decision.reason}
            for look in found.looks
        ],
        "ended": None
        if found.ended is None
        else {
            "decision": found.ended.id,
            "at": found.ended.at.isoformat(timespec="seconds"),
            "by": found.ended.by,
            "why": _why(found),
        },
        "told": tell_probation(found),
    }
