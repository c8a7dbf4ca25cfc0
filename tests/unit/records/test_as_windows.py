"""Records read back as windows of hours, days and months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine

from closedloop.errors import StoreError
from closedloop.records.as_windows import RecordsSource
from closedloop.records.store import Records
from closedloop.use_case.contract import UseCase
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered


def test_windows_are_the_utc_days_with_answers(engine: Engine, use_case: UseCase) -> None:
    """Days are sorted and in UTC, whatever the zone of the times, without empty days and without
    today."""
    records = Records(engine, now=lambda: NOON)
    late = datetime(
        2026, 11, 18, 1, tzinfo=timezone(timedelta(hours=3))
    )  # 22:00 of the 17th in UTC
    times = [
        NOON,
        NOON - timedelta(days=1),
        late,
        datetime(2026, 11, 17, tzinfo=UTC),
        datetime(2026, 11, 18, tzinfo=UTC) - timedelta(microseconds=1),
    ]
    records.append([answered(f"p{number}", at=at) for number, at in enumerate(times)])
    source = RecordsSource(records, use_case)
    assert source.windows() == ("records_2026-11-17", "records_2026-11-19")
    assert len(source.read("records_2026-11-17")) == 3
    assert len(source.read("records_2026-11-19")) == 1
    assert RecordsSource(records, use_case, unfinished=True).windows()[-1] == "records_2026-11-20"


@pytest.mark.parametrize(
    ("period", "windows"),
    [
        ("hour", ("records_2026-01-31T23", "records_2026-02-01T00")),
        ("day", ("records_2026-01-31", "records_2026-02-01")),
        ("month", ("records_2026-01", "records_2026-02")),
    ],
)
def test_windows_split_at_the_end_of_their_period(
    records: Records, use_case: UseCase, period: str, windows: tuple[str, ...]
) -> None:
    """The last microsecond of a month and the first of the next are in different windows of every
    period."""
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    records.append(
        [answered("before", at=midnight - timedelta(microseconds=1)), answered("at", at=midnight)]
    )
    source = RecordsSource(records, use_case, period)  # type: ignore[arg-type]
    assert source.windows() == windows
    assert [len(source.read(window)) for window in windows] == [1, 1]


def test_a_window_of_another_source_is_refused(records: Records, use_case: UseCase) -> None:
    """For an unknown name the error shows the form of a name."""
    with pytest.raises(StoreError, match="wanted records_%Y-%m-%d, got month_004"):
        RecordsSource(records, use_case).read("month_004")
