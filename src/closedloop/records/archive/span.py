"""A part of a window of records, and what it is read from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from closedloop.records.archive.day_counts import DayCounts


@dataclass(frozen=True)
class Span:
    """A part of a window; with `day`, it is read from the file that stands for these `counts`."""

    since: datetime | None
    until: datetime | None
    day: date | None = None
    counts: DayCounts | None = None
