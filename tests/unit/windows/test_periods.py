"""Hours, days, weeks and months by a local clock, also when it is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.use_case.source import Every
from closedloop.windows.periods import end_of, name_of, period_named, start_of

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [UTC, *map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Beirut"))]


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)]
)
def test_a_day_has_23_or_25_hours_when_the_clock_is_changed(day: str, hours: int) -> None:
    """From midnight to midnight in Berlin, and as many windows of an hour."""
    start = period_named(day, "day", BERLIN)
    assert start is not None
    end = end_of(start, "day", BERLIN)
    assert end - start == timedelta(hours=hours)
    names, hour = [], start
    while hour < end:
        names.append(name_of(hour, "hour", BERLIN))
        hour = end_of(hour, "hour", BERLIN)
    assert len(set(names)) == hours


def test_an_hour_that_comes_twice_is_two_windows() -> None:
    """The offset tells 02:30 of summer from 02:30 of winter, an hour later."""
    summer = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    names = [
        name_of(start_of(moment, "hour", BERLIN), "hour", BERLIN)
        for moment in (summer, summer + timedelta(hours=1))
    ]
    assert names == ["2026-10-25T02+02:00", "2026-10-25T02+01:00"]


@pytest.mark.parametrize(
    ("every", "name"),
    [("month", "2026-01"), ("week", "2026-W01"), ("day", "2026-01-01"), ("hour", "2026-01-01T00")],
)
def test_periods_are_named(every: Every, name: str) -> None:
    """The ISO week has the year of its Thursday: 31 December 2025 is in the first one of 2026."""
    moment = datetime(2026, 1, 1, 0, 59, tzinfo=UTC)
    assert name_of(start_of(moment, every), every) == name
    if every == "week":
        assert name_of(start_of(datetime(2025, 12, 31, tzinfo=UTC), every), every) == name
    assert period_named(name, every) == start_of(moment, every)
    assert period_named("alpha", every) is None


def test_the_local_clock_decides_the_month() -> None:
    """23:30 UTC of 31 December is January in Berlin, and still December in New York."""
    moment = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    names = [
        name_of(start_of(moment, "month", zone), "month", zone)
        for zone in (UTC, BERLIN, ZoneInfo("America/New_York"))
    ]
    assert names == ["2025-12", "2026-01", "2025-12"]


@settings(max_examples=150)
@given(
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
)
def test_periods_follow_each_other_without_a_gap(
    every: Every, zone: ZoneInfo, moment: datetime
) -> None:
    """Every moment is in one period, whose name leads back to it."""
    start = start_of(moment, every, zone)
    end = end_of(start, every, zone)
    assert start <= moment < end
    assert (
        start_of(start, every, zone) == start == start_of(end - timedelta(seconds=1), every, zone)
    )
    assert start_of(end, every, zone) == end
    assert period_named(name_of(start, every, zone), every, zone) == start
