"""Rows of a real SQLite and a real PostgreSQL database, cut by a column of times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from closedloop.use_case.source import Source
from closedloop.windows.sources import NoWindows
from closedloop.windows.sql_source import SqlSource
from tests.postgres import postgres, postgres_url  # noqa: F401

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 10, tzinfo=UTC)
# Nothing in January; 23:30 UTC of 28 February is March in Berlin.
TIMES = [
    datetime(2025, 12, 1, 0, 30),
    datetime(2025, 12, 31, 22, 30),
    datetime(2026, 2, 1),
    datetime(2026, 2, 28, 23, 30),
    datetime(2026, 3, 9),
]
ALL = 'SELECT "at", x FROM orders'
ONE = ALL + " WHERE \"at\" >= '{start}' AND \"at\" < '{end}' AND 'a%:b' LIKE '%'"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with a table of orders."""
    found = (
        f"sqlite:///{tmp_path / 'shop.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    found = found.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(found)
    orders = sa.Table(
        "orders", sa.MetaData(), sa.Column("at", sa.DateTime), sa.Column("x", sa.Integer)
    )
    with engine.begin() as connection:
        orders.create(connection)
        rows = [{"at": time, "x": place} for place, time in enumerate(TIMES)]
        connection.execute(orders.insert(), rows)
    engine.dispose()
    return str(found)


def source(url: str, query: str, now: datetime = NOW, **named: Any) -> SqlSource:
    settings = {"kind": "sql", "url": url, "time_column": "at", "every": "month", **named}
    return SqlSource(Source(query=query, **settings), url, lambda: now)


@pytest.mark.parametrize("query", [ALL, ONE], ids=["all rows", "one period"])
def test_rows_of_a_database_are_cut_by_their_time(url: str, query: str) -> None:
    """All at once or a period at a time: the same windows, without empty and unfinished ones."""
    orders = source(url, query)
    assert orders.windows() == ("2025-12", "2026-02")
    assert orders.read("2025-12").to_dict("list") == {"x": [0, 1]}
    assert orders.read("2026-02").to_dict("list") == {"x": [2, 3]}
    assert orders.remarks() == ("2026-03 left out: not over yet, or its rows stop early",)
    april = source(url, query, datetime(2026, 4, 1, tzinfo=UTC))
    assert april.windows()[-1] == "2026-03"


@pytest.mark.parametrize("query", [ALL, ONE], ids=["all rows", "one period"])
def test_days_of_a_database_begin_by_the_local_clock(url: str, query: str) -> None:
    """Times without a zone are those of the clock that is named."""
    orders = source(url, query, every="day", timezone="Europe/Berlin")
    assert orders.windows() == (
        "2025-12-01",
        "2025-12-31",
        "2026-02-01",
        "2026-02-28",
        "2026-03-09",
    )
    assert list(orders.read("2026-02-28")["x"]) == [3]


@pytest.mark.parametrize(
    "listed", ["SELECT '2025-12-15' UNION SELECT '2026-02-01 10:00'", "SELECT '2026-02'"]
)
def test_windows_query_may_list_the_periods(url: str, listed: str) -> None:
    """By any time within, or by name."""
    orders = source(url, ONE, windows_query=listed)
    assert orders.windows()[-1] == "2026-02"
    assert list(orders.read("2026-02")["x"]) == [2, 3]


def test_an_empty_table_has_no_windows(url: str) -> None:
    """Said as for any other source."""
    with pytest.raises(NoWindows):
        source(url, ONE + " AND x > 99").windows()
