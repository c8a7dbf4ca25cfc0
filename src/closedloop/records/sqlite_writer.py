"""Writes answered requests to SQLite, small ones at once, in the thread that asks.

Why a writer of our own: such a commit takes about 50 microseconds, and waking another thread takes
as long again. So `write_now` never waits for a lock or for the disk. Where it would have to, it
declines, and the request goes through the queue's thread and `write`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.records.insert_sql import Statement, insert_statements
from closedloop.records.request import AnsweredRequest
from closedloop.records.writer import AnswerWriter

Sync = Literal["normal", "full"]
MAX_ROWS_NOW = 256  # of a commit without a thread; more rows are worth one
# The size of SQLite's log at which it is moved into the database: each time costs waits for the
# disk.
CHECKPOINT_BYTES = 32_000_000
# What a commit and a request add to the log besides their values: pages of the table and indexes.
_COMMIT_BYTES, _REQUEST_BYTES = 20_000, 200
# How long a checkpoint waits for readers of the log; after that it is retried when as many bytes
# were added again.
_CHECKPOINT_WAIT_MS = 100
# How little of the log is moved while others wait, and how often it is tried to get there.
_FEW_PAGES, _MOST_PASSES = 500, 5


class SqliteWriter(AnswerWriter):
    """Writes to a SQLite file; `sync` "normal" survives a crash of the process, "full" a power cut.

    `write_now` works with "normal" only: with "full", each commit waits for the disk. It also moves
    SQLite's log into the database, in a thread of its own, because a commit would have to wait for
    that.
    """

    def __init__(
        self, engine: Engine, sync: Sync, *, checkpoint_bytes: int = CHECKPOINT_BYTES
    ) -> None:
        super().__init__(engine)
        self._sync, self._checkpoint_bytes = sync, checkpoint_bytes
        self._can_write_now = sync == "normal" and bool(engine.url.database)
        self._file: tuple[Path, tuple[int, int]] | None = None
        self._waits, self._wait_ms = True, 0
        self._logged_bytes = 0
        self._checkpointing: Thread | None = None

    def write(self, requests: Sequence[AnsweredRequest], now: datetime) -> None:
        super().write(requests, now)
        self._count_bytes(requests)

    def write_now(self, requests: Sequence[AnsweredRequest], now: datetime) -> bool:
        """True when all are committed without waiting; False when none is: `write` them."""
        if not self._can_write_now or sum(request.rows for request in requests) > MAX_ROWS_NOW:
            return False
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if not self._is_usable():
                return False
            self._wait_for_locks(False)
            self._run(insert_statements(requests, now, "sqlite"))
            self._connection.commit()
        except StoreError:
            return False
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                self._connection.rollback()
            else:
                self._drop()
            return False
        finally:
            self._lock.release()
        self._count_bytes(requests)
        return True

    def close(self) -> None:
        """Close the file, after a checkpoint that is under way; the next `write` opens it again."""
        checkpointing = self._checkpointing
        if checkpointing is not None:
            checkpointing.join()
        super().close()

    def _connect(self) -> bool:
        if super()._connect():
            return True
        connection = self._connection
        connection.execute(f"PRAGMA synchronous={self._sync.upper()}")
        self._waits, self._wait_ms = True, connection.execute("PRAGMA busy_timeout").fetchone()[0]
        if self._can_write_now:
            connection.execute("PRAGMA wal_autocheckpoint=0")
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        self._file = (Path(path), _identify(Path(path))) if path else None
        return False

    def _is_usable(self) -> bool:
        # Writing into a file that was removed or replaced succeeds, and the rows are lost.
        return self._connection is not None and (
            self._file is None or _identify(self._file[0]) == self._file[1]
        )

    def _execute(self, statements: Sequence[Statement]) -> None:
        self._wait_for_locks(True)
        self._run(statements)

    def _wait_for_locks(self, wait: bool) -> None:
        """Whether statements wait for the locks of other processes; costs one only on a change."""
        if wait != self._waits:
            self._connection.execute(f"PRAGMA busy_timeout={self._wait_ms if wait else 0}")
            self._waits = wait

    def _run(self, statements: Sequence[Statement]) -> None:
        # A single statement is a transaction of its own, and the quickest.
        if len(statements) > 1:
            self._connection.execute("BEGIN IMMEDIATE")
        for statement, values in statements:
            self._connection.execute(statement, values)

    def _count_bytes(self, requests: Sequence[AnsweredRequest]) -> None:
        """Estimate what a commit added to the log; start a checkpoint when it is large enough."""
        self._logged_bytes += _COMMIT_BYTES + sum(
            _REQUEST_BYTES + len(request.features) + len(request.probabilities)
            for request in requests
        )
        is_due = self._can_write_now and self._logged_bytes >= self._checkpoint_bytes
        if is_due and self._checkpointing is None:
            self._logged_bytes = 0
            self._checkpointing = Thread(
                target=self._checkpoint, name="checkpoint-records", daemon=True
            )
            self._checkpointing.start()

    def _checkpoint(self) -> None:
        try:
            with (
                suppress(SQLAlchemyError, sqlite3.Error),
                closing(self._engine.raw_connection()) as connection,
            ):
                cursor = connection.cursor()
                before = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
                cursor.execute(f"PRAGMA busy_timeout={_CHECKPOINT_WAIT_MS}")
                if _move_log(cursor):
                    cursor.execute("PRAGMA wal_checkpoint(RESTART)")
                cursor.execute(f"PRAGMA busy_timeout={before}")
        finally:
            self._checkpointing = None


def _move_log(cursor: Any) -> bool:
    """Move the log into the database while others write, until they have added little to it.

    Only what is left then keeps them waiting. False while somebody reads an older state: the log
    cannot be reused before they end, and grows.
    """
    before = 0
    for _ in range(_MOST_PASSES):
        _, logged, moved = cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if moved < logged:
            return False
        if logged - before <= _FEW_PAGES:
            break
        before = logged
    return True


def _identify(path: Path) -> tuple[int, int]:
    """Which file is at `path` now: device and inode, (-1, -1) for none."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_dev, found.st_ino
