"""Decisions that were made on labels which were corrected since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from closedloop.records.as_windows import PREFIX, count_corrected
from closedloop.storage.details import PromotionDetails
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop


def count_corrections(loop: Loop, entries: Sequence[Entry]) -> Mapping[int, int]:
    """Decision -> rows whose label was corrected since, for decisions on windows of records.

    Counted are the rows of the window that was looked at, of the one that production was judged on,
    and of the one that the candidate was compared on.
    """
    by_id = {entry.id: entry for entry in loop.journal.history(loop.use_case.name)}
    counts: dict[tuple[frozenset[str], datetime], int] = {}
    found: dict[int, int] = {}
    for entry in entries:
        windows, since = _windows_of(entry), _read_at(entry, by_id)
        if not windows:
            continue
        if (windows, since) not in counts:
            counts[windows, since] = count_corrected(loop.records, loop.use_case, windows, since)
        if counts[windows, since]:
            found[entry.id] = counts[windows, since]
    return found


def tell_corrections(rows: int) -> str:
    """What people are told about a decision whose labels were corrected."""
    return f"labels of this window were corrected since: {rows:,} {'row' if rows == 1 else 'rows'}"


def _windows_of(entry: Entry) -> frozenset[str]:
    realised, details = entry.turn.realised, entry.details
    compared = details.comparison if isinstance(details, PromotionDetails) else None
    named = (
        entry.decision.window,
        realised.realised_on if realised else None,
        compared.evaluated_on if compared else None,
    )
    return frozenset(name for name in named if name is not None and name.startswith(PREFIX))


def _read_at(entry: Entry, by_id: Mapping[int, Entry]) -> datetime:
    """When its labels were read at the latest: a candidate is judged long after the look at the
    window that led to it."""
    cause = by_id.get(entry.cause) if entry.cause is not None else None
    return entry.at if cause is None else min(entry.at, cause.at)
