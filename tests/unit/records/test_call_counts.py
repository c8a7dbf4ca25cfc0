"""Calls of a version's model by the minute: counted in the service, kept in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from closedloop.records.call_counts import (
    BOUNDS_MS,
    ServedCounts,
    ServedTotal,
    median_of,
    next_minute,
)
from closedloop.records.store import Records
from tests.postgres import postgres, postgres_url  # noqa: F401

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: float) -> float:
    """A Unix time some minutes after noon."""
    return (NOON + timedelta(minutes=minutes)).timestamp()


def test_what_is_counted_comes_back_by_version_and_time(records: Records) -> None:
    """Minutes of two processes add up, each version alone, within the times asked for."""
    for counts in (ServedCounts(), ServedCounts()):
        for minute in (0.1, 0.9, 1.5):
            counts.count(4, at(minute), 0.004, failed=False)
        counts.count(4, at(1.6), None, failed=True)
        counts.count(3, at(0.2), 0.001, failed=False)
        records.add_served("shop", counts.take(inf))
    whole = records.read_served("shop", 4)
    assert (whole.calls, whole.failed) == (8, 2)
    assert whole.median_ms == pytest.approx(4, rel=0.3)
    later = records.read_served("shop", 4, since=NOON + timedelta(minutes=1))
    assert (later.calls, later.failed) == (4, 2)
    before = records.read_served("shop", 4, until=NOON + timedelta(minutes=1))
    assert (before.calls, before.failed) == (4, 0)
    assert records.read_served("shop", 3).calls == 2
    assert records.read_served("other", 4) == ServedTotal(0, 0, None)


def test_a_minute_is_taken_when_it_is_over(records: Records) -> None:
    """The current minute waits; what could not be written comes again with the next, once."""
    counts = ServedCounts()
    counts.count(4, at(0.5), 0.001, failed=False)
    assert counts.take(at(0.9)) == []
    taken = counts.take(at(1.1))
    counts.put_back(taken)
    counts.count(4, at(1.5), 0.001, failed=False)
    again = counts.take(at(2))
    assert again[: len(taken)] == taken
    assert len(again) == 2
    records.add_served("shop", again)
    records.add_served("shop", again)  # the answer to the commit was lost
    assert records.read_served("shop", 4).calls == 2


def test_old_minutes_go_with_old_records(records: Records) -> None:
    """Whoever deletes records deletes these counts, of one use case alone."""
    counts = ServedCounts()
    counts.count(4, at(0), 0.001, failed=False)
    counts.count(4, at(10), 0.001, failed=False)
    minutes = counts.take(inf)
    records.add_served("shop", minutes)
    records.add_served("other", minutes)
    records.delete_before("shop", NOON + timedelta(minutes=5))
    assert records.read_served("shop", 4).calls == 1
    assert records.read_served("other", 4).calls == 2


@pytest.mark.parametrize("milliseconds", [0.01, 0.3, 2.0, 75.0, 1200.0, 10**6])
def test_a_median_is_right_to_a_third(milliseconds: float) -> None:
    """However long calls take, up to a minute: the bounds grow by a half each."""
    counts = ServedCounts()
    for _ in range(100):
        counts.count(1, at(0), milliseconds / 1000, failed=False)
    found = median_of(counts.take(inf)[0].times)
    assert found is not None
    expected = min(max(milliseconds, BOUNDS_MS[0]), BOUNDS_MS[-1])
    assert expected / 2 <= found <= expected * 1.5


def test_without_a_call_there_is_no_median() -> None:
    """Nothing counted is unknown, not 0."""
    assert median_of([]) is None
    assert median_of([0] * 5) is None


def test_whole_minutes_begin_at_the_moment_or_after_it() -> None:
    """The minute of a promotion belongs to neither version."""
    assert next_minute(NOON) == NOON
    assert next_minute(NOON + timedelta(seconds=1)) == NOON + timedelta(minutes=1)
