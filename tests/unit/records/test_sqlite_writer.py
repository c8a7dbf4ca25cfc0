"""Records that are committed without waiting: never when there would be a wait, and never less than
all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from closedloop.records.request import AnsweredRequest, describe_answers
from closedloop.records.sqlite_writer import MOST_ROWS, QuickWriter
from closedloop.storage.engine import open_engine
from closedloop.storage.upgrade import prepare_tables

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
def writer(engine: Engine) -> QuickWriter:
    made = QuickWriter(engine, "normal")
    made.open()
    return made


def recorded(path: Path) -> tuple[list[str], list[str]]:
    """Requests and keys, as another process finds them."""
    with closing(sqlite3.connect(path)) as other:
        requests = other.execute("SELECT request FROM answers ORDER BY request").fetchall()
        return [one for (one,) in requests], [
            one for (one,) in other.execute("SELECT key FROM answer_keys ORDER BY key")
        ]


def test_what_is_written_is_committed_with_its_keys(writer: QuickWriter, tmp_path: Path) -> None:
    """Another connection finds requests and keys as soon as `write` says True, of one statement and
    of several."""
    assert writer.write([answered("a")], NOW)
    assert writer.write([answered("b", 2, ("k1", "k2")), answered("c")], NOW)
    assert recorded(tmp_path / "records.db") == (["a", "b", "c"], ["k1", "k2"])


def test_it_declines_while_another_writes_and_goes_on_afterwards(
    writer: QuickWriter, tmp_path: Path
) -> None:
    """The lock of another process is not waited for: nothing is written, nothing raised, and once
    opened again it writes."""
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not writer.write([answered("a", 1, ("k",))], NOW)
        other.execute("COMMIT")
    writer.open()
    assert writer.write([answered("a", 1, ("k",))], NOW)
    assert recorded(tmp_path / "records.db") == (["a"], ["k"])


def test_a_fault_leaves_nothing_behind(writer: QuickWriter, tmp_path: Path) -> None:
    """When a later statement fails, an earlier one of the same call is not kept."""
    assert writer.write([answered("a")], NOW)
    assert not writer.write([answered("b", 1, ("k",)), answered("a", 1, ("k",))], NOW)
    assert recorded(tmp_path / "records.db") == (["a"], [])


def test_it_does_not_write_into_a_file_that_was_replaced(
    writer: QuickWriter, tmp_path: Path
) -> None:
    """A database that was removed and made anew gets the next request, not the removed one."""
    assert writer.write([answered("a")], NOW)
    for path in tmp_path.glob("records.db*"):
        path.unlink()
    assert not writer.write([answered("b")], NOW)


def test_it_declines_what_takes_longer(writer: QuickWriter, engine: Engine) -> None:
    """Many rows, full synchronisation, and a writer that was not opened."""
    assert not writer.write([answered("a", MOST_ROWS + 1)], NOW)
    full = QuickWriter(engine, "full")
    full.open()
    assert not full.write([answered("b")], NOW)
    assert not QuickWriter(engine, "normal").write([answered("c")], NOW)


def test_the_log_is_brought_into_the_database_and_begins_anew(
    engine: Engine, tmp_path: Path
) -> None:
    """However much is written, the log stays near its bound and nothing is lost; what is declined
    meanwhile can be written afterwards."""
    writer, log = (
        QuickWriter(engine, "normal", checkpoint_bytes=300_000),
        tmp_path / "records.db-wal",
    )
    writer.open()
    written = [f"{number:04d}" for number in range(400)]
    for request in written:
        assert writer.write([answered(request)], NOW)
        if (tending := writer._tending) is not None:
            tending.join(30)  # how far it gets while others write is the disk's affair
            writer.open()
    assert 100_000 < log.stat().st_size < 3_000_000  # without it: 8 MB
    assert recorded(tmp_path / "records.db") == (written, [])
