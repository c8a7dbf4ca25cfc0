"""Committing records without waiting: declined where it would have to wait, and always whole."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, func, select

from closedloop.records.request import AnsweredRequest
from closedloop.records.sqlite_writer import MAX_ROWS_NOW, SqliteWriter
from closedloop.records.tables import ANSWERS
from closedloop.storage.engine import open_engine, read_only
from closedloop.storage.upgrade import prepare_tables
from tests.answers import describe_answers

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)


def answered(request: str, rows: int = 1, keys: tuple[str, ...] = ()) -> AnsweredRequest:
    return describe_answers(
        "shop",
        3,
        {"spend": [1.5] * rows},
        {"False": [0.2] * rows, "True": [0.8] * rows},
        request=request,
        keys=keys,
    )


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    prepare_tables(engine)
    return engine


@pytest.fixture
def writer(engine: Engine) -> SqliteWriter:
    made = SqliteWriter(engine, "normal")
    made.open()
    return made


def recorded(path: Path) -> tuple[list[str], list[str]]:
    """Requests and keys, as another process finds them."""
    with closing(sqlite3.connect(path)) as other:
        requests = other.execute("SELECT request FROM answers ORDER BY request").fetchall()
        keys = other.execute("SELECT key FROM answer_keys ORDER BY key").fetchall()
        return [request for (request,) in requests], [key for (key,) in keys]


def test_what_is_written_is_committed_with_its_keys(writer: SqliteWriter, tmp_path: Path) -> None:
    """Another connection finds requests and keys once `write_now` is True, for a single statement
    and for several."""
    assert writer.write_now([answered("a")], NOW)
    assert writer.write_now([answered("b", 2, ("k1", "k2")), answered("c")], NOW)
    assert recorded(tmp_path / "records.db") == (["a", "b", "c"], ["k1", "k2"])


def test_it_declines_while_another_process_writes_and_continues_afterwards(
    writer: SqliteWriter, tmp_path: Path
) -> None:
    """It does not wait for another process: nothing is written or raised, and the next call writes,
    over the same connection."""
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not writer.write_now([answered("a", 1, ("k",))], NOW)
        assert not writer.write_now([answered("a")], NOW)
        other.execute("COMMIT")
    assert writer.write_now([answered("a", 1, ("k",))], NOW)
    assert recorded(tmp_path / "records.db") == (["a"], ["k"])


def test_a_fault_leaves_nothing_behind(writer: SqliteWriter, tmp_path: Path) -> None:
    """When a later statement fails, the earlier ones of the same call are rolled back."""
    assert writer.write_now([answered("a")], NOW)
    assert not writer.write_now([answered("b", 1, ("k",)), answered("a", 1, ("k",))], NOW)
    assert recorded(tmp_path / "records.db") == (["a"], [])


def test_waiting_and_not_waiting_take_turns(writer: SqliteWriter, tmp_path: Path) -> None:
    """`write` waits for another process though `write_now` has just declined to, and after it
    `write_now` declines again at once."""
    with closing(
        sqlite3.connect(tmp_path / "records.db", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not writer.write_now([answered("a")], NOW)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(writer.write, [answered("a")], NOW)
            other.execute("COMMIT")
            waiting.result(30)
        other.execute("BEGIN IMMEDIATE")
        assert not writer.write_now([answered("b")], NOW)
        other.execute("COMMIT")
    assert recorded(tmp_path / "records.db") == (["a"], [])


def test_it_does_not_write_into_a_file_that_was_replaced(
    writer: SqliteWriter, tmp_path: Path
) -> None:
    """A file that was removed is noticed: the next `write` opens the new one."""
    assert writer.write_now([answered("a")], NOW)
    for path in tmp_path.glob("records.db*"):
        path.unlink()
    assert not writer.write_now([answered("b")], NOW)
    writer.write([answered("b")], NOW)
    assert writer.write_now([answered("c")], NOW)
    assert recorded(tmp_path / "records.db") == (["b", "c"], [])


def test_it_declines_what_takes_longer(writer: SqliteWriter, engine: Engine) -> None:
    """Many rows, full synchronisation, and a writer that is not open."""
    assert not writer.write_now([answered("a", MAX_ROWS_NOW + 1)], NOW)
    full = SqliteWriter(engine, "full")
    full.open()
    assert not full.write_now([answered("b")], NOW)
    assert not SqliteWriter(engine, "normal").write_now([answered("c")], NOW)


def test_the_log_is_moved_into_the_database_and_reused(engine: Engine, tmp_path: Path) -> None:
    """However much is written, the log stays near its limit and nothing is lost."""
    writer, log = (
        SqliteWriter(engine, "normal", checkpoint_bytes=300_000),
        tmp_path / "records.db-wal",
    )
    writer.open()
    written = [f"{number:04d}" for number in range(400)]
    for request in written:
        assert writer.write_now([answered(request)], NOW)
        if (checkpointing := writer._checkpointing) is not None:
            checkpointing.join(30)  # how far it gets while others write depends on the disk
    assert 100_000 < log.stat().st_size < 3_000_000  # without it: 8 MB
    assert recorded(tmp_path / "records.db") == (written, [])


def test_the_log_grows_while_somebody_reads_and_shrinks_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long reading sees one moment and delays no commit: nobody takes the place for a writer to
    wait for it. What was written meanwhile is in the log, which is moved and cut when it ends."""
    monkeypatch.setattr("closedloop.storage.engine._LOG_BYTES", 200_000)
    engine, log = open_engine(f"sqlite:///{tmp_path / 'records.db'}"), tmp_path / "records.db-wal"
    sent: list[str] = []
    event.listen(engine, "connect", lambda driver, _: driver.set_trace_callback(sent.append))
    prepare_tables(engine)
    answers = select(func.count()).select_from(ANSWERS)
    writer = SqliteWriter(engine, "normal", checkpoint_bytes=300_000)
    writer.open()
    assert writer.write_now([answered("0")], NOW)

    def write_many(name: str) -> None:
        for number in range(100):
            assert writer.write_now([answered(f"{name}{number}", 200)], NOW)
            if (checkpointing := writer._checkpointing) is not None:
                checkpointing.join(30)

    with read_only(engine).begin() as connection:
        assert connection.execute(answers).scalar_one() == 1
        write_many("during")
        assert "PRAGMA wal_checkpoint(PASSIVE)" in sent
        assert "PRAGMA wal_checkpoint(RESTART)" not in sent
        assert connection.execute(answers).scalar_one() == 1
    grown = log.stat().st_size
    assert grown > 1_000_000
    write_many("after")
    assert log.stat().st_size < grown / 2
    assert len(recorded(tmp_path / "records.db")[0]) == 201
