"""Old records are dropped by the partition on a real PostgreSQL, and nothing else is lost.

Each test has a partition that ended long ago, one for each of some months after it, and a clock
that stands in the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Barrier, Event
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event, text

from closedloop.errors import StoreError
from closedloop.records import old_partitions
from closedloop.records.labels import Label, UnknownPrediction
from closedloop.records.reading import RecordCounts
from closedloop.records.shadow import ShadowAnswer, ShadowRecords
from closedloop.records.store import Records
from closedloop.records.tables import ANSWERS, CORRECTIONS, KEYS, LABELS, SHADOWS
from closedloop.storage.engine import open_engine
from closedloop.storage.upgrade import prepare_tables
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url
from tests.unit.storage.partitioned import append, found_in, make, next_month, where
from tests.waiting import until

__all__ = ["postgres", "postgres_url"]
TABLES = (ANSWERS, KEYS, LABELS, CORRECTIONS, SHADOWS)
DAY = timedelta(days=1)


class Months:
    """`starts` of the months that have partitions; `records` stand in the last of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        prepare_tables(engine)
        first = found_in(engine)[0].end
        assert first is not None
        self.starts = [first]
        while len(self.starts) < 6:
            make(engine, self.starts[-1])
            self.starts.append(next_month(self.starts[-1]))
        self.now = self.starts[-1] + 10 * DAY
        self.records = Records(engine, now=lambda: self.now)

    def answer(self, name: str, month: int, days: float, use_case: str = "shop") -> None:
        """A request of two rows, with everything that may belong to one."""
        at, keys = self.starts[month] + timedelta(days=days), [f"k-{name}", None]
        given = describe_answers(
            use_case, 3, {"a": [1.0, 2.0]}, {"True": [0.8] * 2}, request=name, keys=keys, at=at
        )
        self.records.append([given])
        self.records.label_many([Label("True", id=f"{name}-000000")])
        self.records.label_many([Label("False", id=f"{name}-000000", replaces=True)])
        shadows = ShadowRecords(self.engine)
        shadows.write([ShadowAnswer(name, use_case, 4, b'{"True": [0.7, 0.7]}')])
        shadows.close()

    def left(self) -> set[str]:
        """The requests that are left, each with all that belongs to it."""
        found: list[set[str]] = []
        with self.engine.begin() as connection:
            for table in TABLES:
                found.append(set(connection.execute(sa.select(table.c.request)).scalars()))
        assert all(requests == found[0] for requests in found)
        return found[0]


@pytest.fixture
def months(postgres_url: str) -> Iterator[Months]:
    engine = open_engine(postgres_url)
    months = Months(engine)
    yield months
    months.records.close()
    engine.dispose()


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    sent: list[str] = []

    def remember(*arguments: Any) -> None:
        sent.append(arguments[2])

    event.listen(engine, "before_cursor_execute", remember)
    yield sent
    event.remove(engine, "before_cursor_execute", remember)


def test_whole_months_are_dropped_and_the_rest_is_deleted(months: Months) -> None:
    """Two months go as partitions, the days of the third one row by row; the partitions that are
    left cover all of time, and labels and erasures reach what is in any of them."""
    for month in range(4):
        for days in (1, 20, 25):
            months.answer(f"r{month}-{days}", month, days)
    cut, before = months.starts[2] + 10 * DAY, found_in(months.engine)
    assert months.records.count_before("shop", cut) == 14
    with statements_of(months.engine) as sent:
        assert months.records.delete_before("shop", cut) == 14
    dropped = [statement for statement in sent if statement.startswith("DROP TABLE answers_before")]
    assert len(dropped) >= 2
    deleted = [statement for statement in sent if statement.startswith("DELETE FROM answers ")]
    assert len(deleted) == 1
    left = {"r2-20", "r2-25", *(f"r3-{days}" for days in (1, 20, 25))}
    assert months.left() == left
    assert months.records.count("shop") == RecordCounts(10, 5)
    assert months.records.delete_before("shop", cut) == 0
    records = months.records
    by_key, by_id = Label("True", key="k-r3-1", replaces=True), Label("True", id="r2-25-000001")
    assert records.label_many([by_key, by_id], "shop") == 2
    with pytest.raises(UnknownPrediction, match="key k-r0-1"):
        records.label_many([Label("True", key="k-r0-1")], "shop")
    assert records.find_answer("r2-25-000000", "shop").version == 3
    assert records.erase("shop", "k-r2-25") == 1
    assert records.find_rows("shop", "k-r2-25").rows == 0
    found = found_in(months.engine)
    assert (found[0].start, found[0].end) == (None, months.starts[2])
    assert [part.start for part in found[1:]] == [part.end for part in found[:-1]]
    with months.engine.begin() as connection:  # as a process that looked before this one did it
        assert old_partitions._drop(connection, before[2], "shop", cut) == 0
    append(months.engine, "old", datetime(1999, 1, 1, tzinfo=UTC))
    assert where(months.engine)["old"] == found[0].name


def test_what_stays_of_a_month_is_copied(months: Months) -> None:
    """Another use case's requests and the hours of a time zone stay with all that is theirs, when
    they are fewer than those that go."""
    for days in (0, 1, 2, 3, 30):
        months.answer(f"shop{days}", 0, days)
    months.answer("other", 0, 2, use_case="other")
    cut = months.starts[0] + timedelta(days=29)
    with statements_of(months.engine) as sent:
        assert months.records.delete_before("shop", cut) == 8
    assert not [statement for statement in sent if statement.startswith("DELETE FROM answers ")]
    assert months.left() == {"shop30", "other"}
    assert len(set(where(months.engine).values())) == 1
    assert months.records.count("other") == RecordCounts(2, 1)
    months.answer("again", 0, 4, use_case="other")
    with pytest.raises(StoreError, match="duplicate key"):
        months.answer("again", 0, 4, use_case="other")
    assert months.records.delete_before("other", months.starts[1]) == 4
    assert months.left() == {"shop30"}


def test_where_more_stays_than_goes_rows_are_deleted(months: Months) -> None:
    """One use case's old request among two of another, and one of the month that goes on."""
    months.answer("goes", 0, 1)
    for name in ("stays", "stays too"):
        months.answer(name, 0, 2, use_case="other")
    months.answer("new", -1, 1)
    with statements_of(months.engine) as sent:
        assert months.records.delete_before("shop", months.now) == 4
    assert not [statement for statement in sent if statement.startswith("DROP TABLE")]
    assert months.left() == {"stays", "stays too"}


def test_what_somebody_reads_is_deleted_row_by_row(
    months: Months, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who does not end is not waited for: the same rows are deleted as ever, and the
    reader goes on seeing what it saw."""
    monkeypatch.setattr(old_partitions, "_TRIES", 2)
    months.answer("goes", 0, 1)
    months.answer("stays", 2, 1)
    with months.engine.connect() as reader, reader.begin():
        reader.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        seen = sa.select(sa.func.count()).select_from(ANSWERS)
        assert reader.execute(seen).scalar_one() == 2
        with statements_of(months.engine) as sent:
            assert months.records.delete_before("shop", months.starts[1]) == 2
        assert not [statement for statement in sent if statement.startswith("DROP TABLE")]
        assert reader.execute(seen).scalar_one() == 2
    assert months.left() == {"stays"}


def test_a_crash_changes_nothing_and_the_same_call_goes_on(months: Months) -> None:
    """The connection breaks between the two tables' drops: every request is whole. Again, all of
    them go."""
    for month in (0, 1):
        months.answer(f"r{month}", month, 1)
    victim = months.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def kill(connection: Any, _: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("DROP TABLE answer_keys"):
            pid = connection.connection.driver_connection.info.backend_pid
            victim.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))

    event.listen(months.engine, "before_cursor_execute", kill)
    with pytest.raises(StoreError, match="delete old predictions"):
        months.records.delete_before("shop", months.starts[2])
    event.remove(months.engine, "before_cursor_execute", kill)
    victim.close()
    assert months.left() == {"r0", "r1"}
    assert months.records.delete_before("shop", months.starts[2]) == 4
    assert months.left() == set()


def test_a_role_that_owns_no_table_deletes_row_by_row(months: Months, postgres_url: str) -> None:
    """With the rights to delete, but not to drop, it deletes what it could delete before."""
    months.answer("goes", 0, 1)
    with months.engine.begin() as connection:
        if connection.execute(text("SELECT to_regrole('pruner')")).scalar_one() is None:
            connection.execute(text("CREATE ROLE pruner LOGIN"))
        connection.execute(text("GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO pruner"))
    engine = open_engine(postgres_url.replace("closedloop@", "pruner@"))
    pruner = Records(engine, now=lambda: months.now)
    assert pruner.delete_before("shop", months.starts[1]) == 2
    assert months.left() == set()
    engine.dispose()


def test_the_service_records_while_months_are_dropped(months: Months) -> None:
    """Another connection appends all the time: none of its requests fails, and all are there."""
    for month in range(4):
        months.answer(f"r{month}", month, 1)
    serving = Records(months.engine, now=lambda: months.now)
    over, first = Event(), Event()

    def serve() -> int:
        for number in count():
            keys = [f"new-{number}"]
            answer = describe_answers(
                "shop", 3, {"spend": [1.0]}, {"True": [0.8]}, request=f"new-{number}", keys=keys
            )
            serving.append([answer])
            first.set()
            if over.is_set():
                return number + 1
        raise AssertionError("count() ends")

    with ThreadPoolExecutor(1) as pool:
        recorded = pool.submit(serve)
        try:
            assert first.wait(60)
            dropped = old_partitions.drop_old(
                months.engine.begin, "shop", months.starts[4], months.now
            )
        finally:
            over.set()
    serving.close()
    assert dropped == 8
    assert months.records.count("shop").predictions == recorded.result() > 1
    assert found_in(months.engine)[0].end == months.starts[4]


def test_what_is_recorded_while_a_month_is_copied_is_kept(
    months: Months, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old request that another process copies into the month waits, and is not dropped with
    it."""
    monkeypatch.setattr(old_partitions, "_TRIES", 1)
    months.answer("goes", 0, 1)
    day, late = months.starts[0], list[Future[None]]()
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as pool, months.engine.connect() as looking:

        def append_late(*arguments: Any) -> None:
            if arguments[2].startswith("LOCK TABLE ONLY") and not late:
                late.append(pool.submit(append, months.engine, "late", day + 5 * DAY))
                until(
                    lambda: late[0].done() or looking.execute(waiting).scalar_one() > 0,
                    "the request that comes late",
                )

        event.listen(months.engine, "before_cursor_execute", append_late)
        assert months.records.delete_before("shop", day + 3 * DAY) == 2
        event.remove(months.engine, "before_cursor_execute", append_late)
        late[0].result()
    assert set(where(months.engine)) == {"late"}


def test_two_use_cases_are_pruned_at_once(months: Months) -> None:
    """Both want the same months: each request goes once, and neither fails."""
    for month in range(4):
        for use_case in ("shop", "other"):
            months.answer(f"{use_case}{month}", month, 1, use_case=use_case)
    together = Barrier(2)

    def prune(use_case: str) -> int:
        records = Records(months.engine, now=lambda: months.now)
        together.wait(timeout=30)
        return records.delete_before(use_case, months.starts[4])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(prune, ("shop", "other"))) == [8, 8]
    assert months.left() == set()
