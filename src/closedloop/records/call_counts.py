"""How the service's model did, by version and minute: calls, failed calls, and their times.

A failed call has no answer, so it is in no other record. These counts survive a restart of the
service; its metrics do not.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from closedloop.records.tables import SERVED

# Upper bounds of the times that are counted together, in ms: 0.05 to about 70,000.
BOUNDS_MS = tuple(0.05 * 1.5**step for step in range(36))
_MINUTE = timedelta(minutes=1)
_MOST_KEPT = 1_000  # minutes that wait for a database that is away


@dataclass(frozen=True)
class ServedMinute:
    """One minute of one version in one process: `times` counts answered calls by `BOUNDS_MS`."""

    version: int
    minute: datetime
    writer: str
    calls: int
    failed: int
    times: tuple[int, ...]


@dataclass(frozen=True)
class ServedTotal:
    """The calls of one version; `median_ms` of those that were answered and timed, None without."""

    calls: int
    failed: int
    median_ms: float | None


class _Counting:
    """The calls of one version in one minute, while it lasts."""

    def __init__(self) -> None:
        self.calls = self.failed = 0
        self.times = [0] * (len(BOUNDS_MS) + 1)


class ServedCounts:
    """Counts the calls of a process until they are taken. Any thread may count."""

    def __init__(self) -> None:
        self._writer, self._lock = uuid4().hex, Lock()
        self._counting: dict[tuple[int, int], _Counting] = {}
        self._waiting: list[ServedMinute] = []

    def count(self, version: int, at: float, seconds: float | None, *, failed: bool) -> None:
        """Count a call that ended at the Unix time `at`; without `seconds` its time is not."""
        place = version, int(at // 60)
        with self._lock:
            counting = self._counting.get(place)
            if counting is None:
                counting = self._counting[place] = _Counting()
            counting.calls += 1
            counting.failed += failed
            if seconds is not None:
                counting.times[bisect_left(BOUNDS_MS, seconds * 1000)] += 1

    def take(self, now: float) -> list[ServedMinute]:
        """The minutes that are over at the Unix time `now`, and those that were put back.

        Infinity takes the current minute, too; it must not be counted in after that.
        """
        with self._lock:
            over = [place for place in self._counting if place[1] + 1 <= now / 60]
            taken, self._waiting = self._waiting, []
            return taken + [
                ServedMinute(
                    version,
                    datetime.fromtimestamp(minute * 60, UTC),
                    self._writer,
                    counting.calls,
                    counting.failed,
                    tuple(counting.times),
                )
                for version, minute in sorted(over)
                for counting in [self._counting.pop((version, minute))]
            ]

    def put_back(self, minutes: Sequence[ServedMinute]) -> None:
        """Keep minutes that could not be written; the newest of too many."""
        with self._lock:
            self._waiting = [*minutes, *self._waiting][-_MOST_KEPT:]


def write_served(connection: Connection, use_case: str, minutes: Sequence[ServedMinute]) -> None:
    """Write minutes down."""
    rows = [
        {
            "use_case": use_case,
            "version": found.version,
            "minute": found.minute,
            "writer": found.writer,
            "calls": found.calls,
            "failed": found.failed,
            "times": json.dumps(found.times),
        }
        for found in minutes
    ]
    if rows:
        # A commit whose answer was lost is written again: the same minute once is enough.
        made = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        connection.execute(made(SERVED).on_conflict_do_nothing(), rows)


def read_served(
    connection: Connection,
    use_case: str,
    version: int,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ServedTotal:
    """All calls of a version in the minutes since <= minute < until."""
    asked = [SERVED.c.use_case == use_case, SERVED.c.version == version]
    asked += [] if since is None else [SERVED.c.minute >= since]
    asked += [] if until is None else [SERVED.c.minute < until]
    found = connection.execute(
        sa.select(SERVED.c.calls, SERVED.c.failed, SERVED.c.times).where(*asked)
    ).all()
    times = [sum(counts) for counts in zip(*(json.loads(row.times) for row in found), strict=True)]
    return ServedTotal(
        sum(row.calls for row in found), sum(row.failed for row in found), median_of(times)
    )


def delete_served(connection: Connection, use_case: str, before: datetime) -> None:
    """Delete the minutes before `before`."""
    connection.execute(
        sa.delete(SERVED).where(SERVED.c.use_case == use_case, SERVED.c.minute < before)
    )


def next_minute(moment: datetime) -> datetime:
    """The first whole minute at or after a moment."""
    start = moment.replace(second=0, microsecond=0)
    return start if start == moment else start + _MINUTE


def median_of(times: Iterable[int]) -> float | None:
    """The median in ms of counts by `BOUNDS_MS`, to a quarter or so; None without a count."""
    counts = list(times)
    half, passed = sum(counts) / 2, 0
    if not half:
        return None
    for place, count in enumerate(counts):
        if count and passed + count >= half:
            upper = BOUNDS_MS[min(place, len(BOUNDS_MS) - 1)]
            lower = BOUNDS_MS[place - 1] if place else 0.0
            return min(lower + (upper - lower) * (half - passed) / count, upper)
        passed += count
    raise AssertionError("half of the counts is among them")
