"""Records read back as windows of hours, days and months."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from sqlalchemy import Engine

from closedloop.errors import StoreError
from closedloop.records.as_windows import RecordsSource, start_of_window
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import check_contract
from closedloop.windows.prepare import prepare
from closedloop.windows.sources import NOTES
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered, many


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
        ("hour", ("records_2026-05-31T23", "records_2026-06-01T00")),
        ("day", ("records_2026-05-31", "records_2026-06-01")),
        ("week", ("records_2026-W22", "records_2026-W23")),
        ("month", ("records_2026-05", "records_2026-06")),
    ],
)
def test_windows_split_at_the_end_of_their_period(
    records: Records, use_case: UseCase, period: str, windows: tuple[str, ...]
) -> None:
    """The last microsecond of a month and the first of the next are in different windows of every
    period."""
    midnight = datetime(2026, 6, 1, tzinfo=UTC)  # a Monday
    records.append(
        [answered("before", at=midnight - timedelta(microseconds=1)), answered("at", at=midnight)]
    )
    source = RecordsSource(records, use_case, period)  # type: ignore[arg-type]
    assert source.windows() == windows
    assert [len(source.read(window)) for window in windows] == [1, 1]


def test_every_and_timezone_of_the_use_case_cut_the_records(
    records: Records, use_case: UseCase
) -> None:
    """Half past eleven of a UTC Sunday is Monday of the next week in Berlin."""
    berlin = replace(
        use_case, source=replace(use_case.source, every="week", timezone="Europe/Berlin")
    )
    sunday = datetime(2026, 5, 31, 21, 30, tzinfo=UTC)
    records.append([answered("before", at=sunday), answered("at", at=sunday + timedelta(hours=1))])
    source = RecordsSource(records, berlin)
    assert source.windows() == ("records_2026-W22", "records_2026-W23")
    assert [len(source.read(window)) for window in source.windows()] == [1, 1]
    assert start_of_window("records_2026-W23", berlin) == datetime(2026, 5, 31, 22, tzinfo=UTC)
    assert start_of_window("records_2026-06-01", berlin) == datetime(2026, 5, 31, 22, tzinfo=UTC)
    assert start_of_window("month_004", berlin) is None


def test_a_window_of_another_source_is_refused(records: Records, use_case: UseCase) -> None:
    """For an unknown name the error shows the form of a name."""
    with pytest.raises(StoreError, match="wanted records_%Y-%m-%d, got month_004"):
        RecordsSource(records, use_case).read("month_004")


YESTERDAY = NOON - timedelta(days=1)


def read_yesterday(records: Records, use_case: UseCase) -> pd.DataFrame:
    frame = RecordsSource(records, use_case).read("records_2026-11-19")
    assert check_contract(frame, prepare(frame, use_case), use_case) == ()
    return frame


def ask(records: Records, request: str, key: str | None, spend: float, minute: int) -> None:
    at = YESTERDAY + timedelta(minutes=minute)
    records.append([answered(request, key=key, spend=spend, at=at)])


def test_a_key_that_was_asked_twice_counts_once(engine: Engine, use_case: UseCase) -> None:
    """The newest answer of each key counts, in time and not in the order of recording, within its
    window only; what it replaced is told. Before, one retry broke a whole day."""
    records = Records(engine, now=lambda: NOON)
    for request, key, spend, minute in [
        ("d", "c1", 4.0, 3),  # another replica wrote down its later answer first
        ("a", "c1", 1.0, 0),
        ("b", "c2", 2.0, 1),
        ("c", " c1 ", 3.0, 2),  # the contract reads it as c1
        ("today", "c2", 9.0, 24 * 60),
    ]:
        ask(records, request, key, spend, minute)
    frame = read_yesterday(records, use_case)
    assert frame["customer"].tolist() == ["c2", "c1"]
    assert frame["spend"].tolist() == [2.0, 4.0]
    assert frame.attrs[NOTES] == (
        "2 answers were followed by a newer answer for the same key: the newest of each counts",
    )
    today = RecordsSource(records, use_case, unfinished=True).read("records_2026-11-20")
    assert today["spend"].tolist() == [9.0]
    assert NOTES not in today.attrs


def test_a_key_twice_in_one_request_counts_once(engine: Engine, use_case: UseCase) -> None:
    """Of two rows with the same key in one request the later one is the newer."""
    records = Records(engine, now=lambda: YESTERDAY)
    records.append([many("r", 3, ["c1", "c2", "c1"])])
    records.now = lambda: NOON
    frame = read_yesterday(records, use_case)
    assert frame[["customer", "spend"]].values.tolist() == [["c2", 1.0], ["c1", 2.0]]
    assert frame.attrs[NOTES][0].startswith("1 answer was followed by a newer answer")


def test_rows_without_a_key_are_all_kept(engine: Engine, use_case: UseCase) -> None:
    """Without a key nothing says that two answers are about the same case: each is its own."""
    records = Records(engine, now=lambda: NOON)
    for place in range(3):
        ask(records, f"r{place}", None, float(place), place)
    frame = read_yesterday(records, use_case)
    assert frame["customer"].tolist() == ["r0-000000", "r1-000000", "r2-000000"]
    assert NOTES not in frame.attrs


@pytest.mark.parametrize(
    ("labels", "counted"),
    [
        ({}, None),
        ({"a-000000": "True"}, "True"),  # it came before the question was asked again
        ({"b-000000": "False"}, "False"),
        ({"a-000000": "True", "b-000000": "False"}, "False"),
    ],
)
def test_the_label_of_a_key_that_was_asked_twice(
    engine: Engine, use_case: UseCase, labels: dict[str, str], counted: str | None
) -> None:
    """A label belongs to what the key names, whichever of its answers it was sent for; that of the
    newest answer wins."""
    records = Records(engine, now=lambda: NOON)
    ask(records, "a", "c1", 1.0, 0)
    ask(records, "b", "c1", 2.0, 1)
    ask(records, "c", "c2", 3.0, 2)
    records.label_many([Label(label, id=id) for id, label in labels.items()])
    frame = read_yesterday(records, use_case)
    assert frame["spend"].tolist() == [2.0, 3.0]
    assert frame["label"].tolist() == [counted, None]


def test_without_a_key_in_the_use_case_every_answer_counts(
    engine: Engine, use_case: UseCase
) -> None:
    """Nothing is left out where rows have no key."""
    records = Records(engine, now=lambda: NOON)
    ask(records, "a", None, 1.0, 0)
    ask(records, "b", None, 1.0, 1)
    assert len(read_yesterday(records, replace(use_case, key=None))) == 2
