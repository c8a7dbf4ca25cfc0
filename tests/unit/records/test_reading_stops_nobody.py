"""Whoever reads keeps nobody from recording, and ten thousand labels are a handful of statements.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import LabelConflict
from closedloop.operations.moving.journal_copy import JournalCopy
from closedloop.operations.moving.records_copy import copy_records
from closedloop.records import answer_pages, store
from closedloop.records.labels import Label, Named, UnknownPrediction
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.records.tables import ANSWERS
from closedloop.storage.engine import open_engine, read_only
from closedloop.storage.journal import Journal
from closedloop.storage.revisions import plan_upgrade
from closedloop.storage.upgrade import prepare_tables
from closedloop.use_case.contract import UseCase
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered

LATER = NOON + timedelta(days=1)


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """Every statement that is sent meanwhile, those that begin a transaction included."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


READS: dict[str, Callable[[Engine, UseCase], object]] = {
    "a window": lambda engine, use_case: Records(engine).read(use_case),
    "a window in chunks": lambda engine, use_case: list(Records(engine).read_chunks(use_case)),
    "counts": lambda engine, _: Records(engine).count("shop"),
    "what is old": lambda engine, _: Records(engine).count_before("shop", LATER),
    "the newest label": lambda engine, _: Records(engine).newest_labelled("shop"),
    "periods": lambda engine, _: Records(engine).read_periods("shop", "day", LATER),
    "a repeated label": lambda engine, _: Records(engine).label_many(
        [Label("True", id="a-000000")]
    ),
    "history": lambda engine, _: Journal(engine).history("shop"),
    "use cases": lambda engine, _: Journal(engine).use_cases(),
    "a decision": lambda engine, _: Journal(engine).find("k"),
    "the revision": lambda engine, _: plan_upgrade(engine),
    "the tables": lambda engine, _: prepare_tables(engine),
}


@pytest.mark.parametrize("reads", READS)
def test_nothing_that_only_reads_takes_the_write_lock(
    engine: Engine, use_case: UseCase, reads: str
) -> None:
    """While another connection holds SQLite's only place for a writer, each of them ends at once,
    with what was committed before."""
    records = Records(engine, now=lambda: NOON)
    records.append([answered("a", key="c1")])
    records.label_many([Label("True", id="a-000000")])
    with engine.begin(), statements_of(engine) as sent:
        READS[reads](engine, use_case)
    assert sent
    assert "BEGIN IMMEDIATE" not in sent


def test_moving_only_reads_where_it_comes_from(tmp_path: Path) -> None:
    """Counting what is left to move, and moving it, leave the place for a writer of the source
    alone."""
    here, there = (open_engine(f"sqlite:///{tmp_path / name}.db") for name in ("here", "there"))
    Records(here, now=lambda: NOON).append([answered("a", key="c1")])
    Journal(here).write("k", "shop", Decision(Kind.RETRAINING, Action.KEEP, "w", (), None))
    prepare_tables(there)
    with here.begin(), statements_of(here) as sent:
        for write in (False, True):
            copied = copy_records(here, there, "shop", lambda *_: None, write=write)
            assert copied == RecordCounts(1, 0)
        copy = JournalCopy(here, there, "shop")
        assert copy.left_to_copy().decisions == 1
        copy.copy(lambda details: details)
        assert len(set(copy.tell_newest())) == 1
    assert "BEGIN IMMEDIATE" not in sent


def test_a_window_is_read_as_it_was_at_one_moment(
    engine: Engine, use_case: UseCase, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded and labelled during the reading is not in it, and waits for nothing."""
    other = Records(engine, now=lambda: NOON)
    records.append([answered("a"), answered("b")])
    read = answer_pages.read_labels

    def record_meanwhile(
        connection: Connection, requests: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[str]]:
        other.append([answered("c")])
        other.label_many([Label("True", id="b-000000")])
        return read(connection, requests)

    monkeypatch.setattr(answer_pages, "read_labels", record_meanwhile)
    assert records.read(use_case)["label"].tolist() == [None, None]
    monkeypatch.undo()
    assert records.read(use_case)["label"].tolist() == [None, "True", None]


def test_who_reads_cannot_write(postgres_url: str) -> None:
    """PostgreSQL refuses to write in a transaction that was opened for reading."""
    engine = open_engine(postgres_url)
    prepare_tables(engine)
    with read_only(engine).begin() as connection, pytest.raises(DBAPIError, match="read-only"):
        connection.execute(ANSWERS.delete())


@pytest.mark.parametrize("correct", [False, True])
def test_many_labels_are_few_statements_and_looked_up_before_the_write(
    engine: Engine, records: Records, correct: bool
) -> None:
    """Labels by key, by key and time, and by id, new or corrected: the number of statements does
    not grow with them, and SQLite's place for a writer is not taken for a look-up."""
    count = 300
    names = [f"r{number}" for number in range(count)]
    records.append([answered(name, key=f"c{name}", at=NOON) for name in names])

    def given(label: str) -> list[Label]:
        by = [
            lambda name: {"key": f"c{name}"},
            lambda name: {"key": f"c{name}", "at": NOON},
            lambda name: {"id": f"{name}-000000"},
        ]
        return [
            Label(label, replaces=correct, **by[place % 3](name))
            for place, name in enumerate(names)
        ]

    if correct:
        records.label_many(given("False"), "shop")
    with statements_of(engine) as sent:
        assert records.label_many(given("True"), "shop") == count
    assert len(sent) <= 10
    if engine.dialect.name == "sqlite":
        writing = sent[sent.index("BEGIN IMMEDIATE") :]
        assert not [statement for statement in writing if "answer_keys" in statement]
        assert not [statement for statement in writing if "FROM answers" in statement]
        if not correct:  # nor to take a list of them apart
            assert not [statement for statement in writing if "json" in statement]
    assert records.count("shop") == RecordCounts(count, count)


def test_a_label_written_between_look_up_and_write_is_not_overwritten(
    engine: Engine, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A different label of another writer is a conflict, and nothing of the request is recorded;
    the same is no error."""
    records.append([answered("a"), answered("b")])
    other, find = Records(engine, now=lambda: NOON), store.name_predictions

    def find_and_let_another_write(
        connection: Connection, labels: Sequence[Label], use_case: str | None
    ) -> Named:
        found = find(connection, labels, use_case)
        monkeypatch.setattr(store, "name_predictions", find)
        other.label_many([Label("True", id="a-000000")])
        return found

    monkeypatch.setattr(store, "name_predictions", find_and_let_another_write)
    with pytest.raises(LabelConflict, match=r"'True'.*'False'"):
        records.label_many([Label("True", id="b-000000"), Label("False", id="a-000000")])
    assert records.count("shop").labels == 1
    records.append([answered("c")])
    monkeypatch.setattr(store, "name_predictions", find_and_let_another_write)
    assert records.label_many([Label("True", id=f"{name}-000000") for name in "abc"]) == 2
    assert records.count("shop").labels == 3


def test_a_time_of_any_year_is_compared_as_a_time(records: Records) -> None:
    """A year of three digits is before all that was answered."""
    records.append([answered("a", key="c1")])
    early = datetime(998, 12, 31, tzinfo=UTC)
    with pytest.raises(UnknownPrediction, match="c1 at or before 0998"):
        records.label_many([Label("True", key="c1", at=early)], "shop")
