"""Rows a day and the delay of labels, counted by the newest records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from closedloop.records import traffic
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.records.traffic import Day
from closedloop.storage.engine import open_engine
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered

Place = tuple[Records, Callable[[timedelta], None]]


def make_records(url: str) -> Place:
    """Records, and a function that moves their clock."""
    moment = [NOON]

    def move(span: timedelta) -> None:
        moment[0] += span

    return Records(open_engine(url), lambda: moment[0]), move


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_records(f"sqlite:///{tmp_path / 'records.db'}")


def check_days(place: Place) -> None:
    records, move = place
    records.append([answered("a"), answered("b")])
    records.append([answered("other", use_case="another")])
    move(timedelta(hours=13))  # after midnight, in UTC
    records.append([answered("c")])
    day = NOON.date()
    assert records.count_days("shop", NOON - timedelta(days=3)) == (
        Day(day, 2, 2),
        Day(day + timedelta(days=1), 1, 1),
    )
    assert records.count_days("shop", NOON + timedelta(hours=1)) == (
        Day(day + timedelta(days=1), 1, 1),
    )
    records.label_many([Label("True", id="a-000000"), Label("True", id="b-000000")])
    delay = records.label_delay("shop")
    assert delay is not None
    assert (delay.labels, delay.median, delay.most) == (2, timedelta(hours=13), timedelta(hours=13))


def test_days_and_delays_are_those_of_one_use_case(place: Place) -> None:
    """Requests and rows by day in UTC, from a moment on, and how long labels took."""
    check_days(place)


@pytest.mark.slow
def test_postgresql_counts_the_same_days(postgres_url: str) -> None:
    """Whatever time zone the server's session has."""
    check_days(make_records(postgres_url))


def test_nothing_is_known_of_an_empty_store(place: Place) -> None:
    """No day and no delay, not an error."""
    records, _ = place
    assert records.count_days("shop", NOON) == ()
    assert records.label_delay("shop") is None


def test_a_day_that_is_not_whole_is_left_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more requests than are read, the oldest day would be too small; a single day stays."""
    records, move = place
    records.append([answered("a"), answered("b")])
    move(timedelta(days=1))
    records.append([answered("c"), answered("d")])
    monkeypatch.setattr(traffic, "MOST_REQUESTS", 3)
    found = records.count_days("shop", NOON - timedelta(days=1))
    assert [day.day for day in found] == [date(NOON.year, NOON.month, NOON.day) + timedelta(days=1)]
