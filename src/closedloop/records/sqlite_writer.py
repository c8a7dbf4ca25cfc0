"""Small requests into SQLite by the thread that asks: such a commit takes some 50 microseconds, and
waking another thread as long again.

Nothing here waits for a lock or for the disk: where it would have to, it declines, and the request
goes the way of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.records.request import AnsweredRequest
from closedloop.records.writer import Sync, identify, insert_statements

MOST_ROWS = 256  # of a commit; more of them are worth a thread
# Bytes in SQLite's log until it is brought into the database: each time costs some waits for the
# disk.
CHECKPOINT_BYTES = 32_000_000
_COMMIT_BYTES, _REQUEST_BYTES = (
    20_000,
    200,
)  # what each adds to the log beside its values: whole pages of the tree and the indices
_PATIENCE_MS = 100  # for those who still read the log; when they take longer, it is tried again after as many bytes


class QuickWriter:
    """Commits without waiting. `open` does wait: it is for the thread to which `write` leaves what
    it declines.

    Able on SQLite with `sync` "normal" only: with "full" each commit waits for the disk, and a
    server's for the network. Where it is able, it looks after SQLite's log for all writers of this
    process, in a thread that lives as long as that takes.
    """

    def __init__(
        self, engine: Engine, sync: Sync, *, checkpoint_bytes: int = CHECKPOINT_BYTES
    ) -> None:
        self._engine = engine
        self.able = (
            sync == "normal" and engine.dialect.name == "sqlite" and bool(engine.url.database)
        )
        self._checkpoint_bytes = checkpoint_bytes
        self._turn = Lock()
        self._connection: Any = None
        self._file = Path(), (0, 0)
        self._logged = 0
        self._tending: Thread | None = None

    def open(self) -> None:
        """Connect, if that has not been done; the tables must be there. What goes wrong is for
        those to tell who wait."""
        if not self.able or self._connection is not None:
            return
        with suppress(SQLAlchemyError, self._driver.Error):
            pooled = self._engine.raw_connection()
            connection: Any = pooled.driver_connection
            pooled.detach()
            for pragma in ("synchronous=NORMAL", "busy_timeout=0", "wal_autocheckpoint=0"):
                connection.execute(f"PRAGMA {pragma}")
            path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
            self._file, self._connection = (path, identify(path)), connection

    @property
    def _driver(self) -> Any:
        return self._engine.dialect.loaded_dbapi

    def write(self, requests: Sequence[AnsweredRequest], now: datetime) -> bool:
        """True when all of them are committed; False when none is, and they have to go the other
        way."""
        if self._connection is None or sum(one.rows for one in requests) > MOST_ROWS:
            return False
        if not self._turn.acquire(blocking=False):
            return False
        try:
            path, was = self._file
            # Whoever holds a file that was removed or replaced writes into nothing, and is not
            # told.
            if self._connection is None or identify(path) != was:
                self._drop()
                return False
            self._commit(insert_statements(requests, now, "sqlite"))
        except StoreError:
            return False
        except self._driver.Error:
            self._drop()
            return False
        finally:
            self._turn.release()
        self.count(requests)
        return True

    def count(self, requests: Sequence[AnsweredRequest]) -> None:
        """These were committed, here or elsewhere: when the log has grown, it is brought into the
        database meanwhile."""
        self._logged += _COMMIT_BYTES + sum(
            _REQUEST_BYTES + len(one.features) + len(one.probabilities) for one in requests
        )
        if self.able and self._logged >= self._checkpoint_bytes and self._tending is None:
            self._logged = 0
            self._tending = Thread(target=self._checkpoint, name="checkpoint-records", daemon=True)
            self._tending.start()

    def _commit(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        if len(statements) == 1:  # a transaction of its own
            self._connection.execute(*statements[0])
            return
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            self._connection.execute(*statement)
        self._connection.execute("COMMIT")

    def _checkpoint(self) -> None:
        try:
            with (
                suppress(SQLAlchemyError, self._driver.Error),
                closing(self._engine.raw_connection()) as connection,
            ):
                cursor = connection.cursor()
                before = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
                cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
                # Nearly all of it while others write, and then the little that they have added:
                # only that keeps them waiting.
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
                cursor.execute("PRAGMA wal_checkpoint(RESTART)")
                cursor.execute(f"PRAGMA busy_timeout={before}")
        finally:
            self._tending = None

    def close(self) -> None:
        """Let go of the file; `open` connects again."""
        tending = self._tending
        if tending is not None:
            tending.join()
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is of no use any more, whatever it says
                connection.rollback()
            with suppress(Exception):
                connection.close()
