"""The partitions of the records on a real PostgreSQL: made ahead, and never in anybody's way."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from closedloop.records.labels import Label
from closedloop.records.store import RecordCounts, Records
from closedloop.records.tables import ANSWERS, LABELS
from closedloop.storage import partitions, upgrade
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import OURS
from closedloop.storage.upgrade import prepare_tables, upgrade_tables
from tests.postgres import Cluster, postgres, postgres_url
from tests.unit.storage.partitioned import (
    address_of,
    append,
    clock_of,
    found_in,
    make,
    next_month,
    where,
)
from tests.unit.storage.tables import partitions_of, rows_of

__all__ = ["postgres", "postgres_url"]
MOST = datetime(9999, 12, 31, tzinfo=UTC)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


def test_this_month_and_the_next_two_have_partitions_of_their_own(engine: Engine) -> None:
    """A new database gets them with its tables, by month in UTC; together they cover all of time,
    and a second use changes nothing."""
    prepare_tables(engine)
    found = found_in(engine)
    ends = [next_month(clock_of(engine))]
    ends += [next_month(ends[0]), next_month(next_month(ends[0]))]
    assert [part.end for part in found] == [*ends, None]
    assert [part.start for part in found] == [None, *ends]
    prepare_tables(engine)
    upgrade_tables(engine)
    assert found_in(engine) == found
    assert partitions_of(engine) > {part.of(table) for part in found for table in partitions.TABLES}


def test_missing_months_are_made_when_their_time_comes(engine: Engine) -> None:
    """A month later there is one more. Five months late, what the open partition took becomes a
    partition without any row being moved, and nothing is lost."""
    prepare_tables(engine)
    last = found_in(engine)[-1].start
    assert last is not None
    make(engine, clock_of(engine))
    assert found_in(engine)[-1].start == last
    make(engine, last - timedelta(days=1))
    later = [part.start for part in found_in(engine)[-3:]]
    assert later == [last, next_month(last), next_month(next_month(last))]
    late = next_month(next_month(last)) + timedelta(days=150)
    append(engine, "waited", late - timedelta(days=100))
    assert where(engine) == {"waited": "open"}
    make(engine, late)
    found = found_in(engine)
    assert all(before.end == after.start for before, after in pairwise(found))
    assert where(engine) == {"waited": f"before_{next_month(late):%Y_%m}"}
    assert found[-1].start == next_month(next_month(next_month(late)))
    append(engine, "now", late)
    assert where(engine)["now"] == where(engine)["waited"]


def test_a_clock_that_is_wrong_stops_nobody(engine: Engine) -> None:
    """Requests of the year 1 and of 9999 are recorded and stay where there is a place for them when
    further months are made; they are found by id and by key, and erased."""
    early = datetime(1, 1, 2, tzinfo=UTC)
    append(engine, "early", early)
    append(engine, "late", MOST)
    last = found_in(engine)[-1].start
    assert last is not None
    make(engine, last + timedelta(days=200))
    found = found_in(engine)
    assert where(engine) == {"early": found[0].name, "late": "open"}
    records = Records(engine)
    assert records.find_answer("early-000000", "shop").at == early
    assert records.find_answer("late-000000", "shop").at == MOST
    newest, oldest = Label("yes", key="k"), Label("no", key="k", at=early)
    assert records.label_many([newest], "shop") == records.label_many([oldest], "shop") == 1
    with engine.begin() as connection:
        labels = connection.execute(sa.select(LABELS.c.request, LABELS.c.label)).all()
    assert {tuple(row) for row in labels} == {("late", "yes"), ("early", "no")}
    assert records.erase("shop", "k") == 2
    assert records.count("shop") == RecordCounts(0, 0)


def test_a_request_is_recorded_once(engine: Engine) -> None:
    """In the oldest partition, in one that was made ahead and in the open one, a second request of
    the same id is refused, whatever its time."""
    prepare_tables(engine)
    now = clock_of(engine)
    make(engine, now + timedelta(days=90))
    answer = {"use_case": "shop", "version": 3, "rows": 1, "features": "{}", "probabilities": "{}"}
    for days in (0, 40, 110, 300):
        month = next_month(now + timedelta(days=days))
        times = [month - timedelta(days=day) for day in (2, 1)]
        first, again = ({"request": f"r{days}", "at": at, **answer} for at in times)
        with engine.begin() as connection:
            connection.execute(sa.insert(ANSWERS), first)
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(sa.insert(ANSWERS), again)
    assert len(set(where(engine).values())) == 4


RACER = """
import sys
from closedloop.storage.engine import open_engine
from closedloop.storage.upgrade import prepare_tables
engine = open_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
prepare_tables(engine)
"""


def test_processes_that_start_together_make_them_once(engine: Engine) -> None:
    """Four processes find the same partitions missing at the same moment, and none of them
    fails."""
    upgrade._upgrade(engine, OURS, requested=True)  # the tables without what is made ahead
    assert len(found_in(engine)) == 2
    url = engine.url.render_as_string(hide_password=False)
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert [process.stdout.readline() for process in racing] == ["ready\n"] * 4  # type: ignore[union-attr]
    for process in racing:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    printed = [process.communicate(timeout=60) for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, printed
    assert not [error for _, error in printed if error]
    assert len(found_in(engine)) == 4


def test_who_reads_for_long_is_not_waited_for(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """While somebody reads the tables, a store says that no partition was made and works without;
    the next one makes them."""
    upgrade._upgrade(engine, OURS, requested=True)
    with engine.connect() as reader, reader.begin():
        reader.execute(text("SELECT count(*) FROM answers")).all()
        with caplog.at_level(logging.WARNING):
            append(engine, "meanwhile", clock_of(engine) + timedelta(days=300))
        assert "were not made: canceling statement due to lock timeout" in caplog.text
        assert where(engine) == {"meanwhile": "open"}
    prepare_tables(engine)
    assert len(found_in(engine)) == 4
    assert where(engine) == {"meanwhile": "open"}


def test_a_dump_restores_them(engine: Engine, postgres: Cluster) -> None:
    """pg_dump and psql bring rows, partitions and keys into another database, which then records
    and makes partitions."""
    now = clock_of(engine)
    for name, days in (("old", -300), ("new", 0), ("next", 32)):
        append(engine, name, now + timedelta(days=days))
    other = open_engine(postgres.make_database())
    dump = subprocess.run(
        [postgres.programs / "pg_dump", address_of(engine)], capture_output=True, check=True
    )
    subprocess.run(
        [postgres.programs / "psql", "--set", "ON_ERROR_STOP=1", "-q", address_of(other)],
        input=dump.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert rows_of(other) == rows_of(engine)
    assert found_in(other) == found_in(engine)
    assert where(other) == where(engine)
    append(other, "restored", now)
    with pytest.raises(Exception, match="duplicate key"):
        append(other, "restored", now)
    make(other, now + timedelta(days=90))
    assert len(found_in(other)) > len(found_in(engine))
    other.dispose()
