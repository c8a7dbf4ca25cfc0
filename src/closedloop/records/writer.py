"""Writes answered requests over one connection that is kept open."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.records.insert_sql import Statement, insert_statements
from closedloop.records.request import AnsweredRequest
from closedloop.records.tables import store_error
from closedloop.storage.upgrade import prepare_tables


class AnswerWriter:
    """Writes to a database server; each call is all or nothing. Threads take turns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._connection: Any = None

    def open(self) -> None:
        """Connect unless connected. A failure is ignored here: the next `write` reports it."""
        with self._lock, suppress(StoreError, SQLAlchemyError, self._driver.Error):
            self._connect()

    def write(self, requests: Sequence[AnsweredRequest], now: datetime) -> None:
        """Commit all requests; `now` is the time of a request that has none of its own.

        Raises StoreError when none was recorded.
        """
        self.commit(insert_statements(requests, now, self._engine.dialect.name))

    def commit(self, statements: Sequence[Statement], doing: str = "record predictions") -> None:
        """Run statements as one transaction; raises StoreError when nothing was changed."""
        with self._lock:
            try:
                self._write(statements)
            except (self._driver.Error, SQLAlchemyError) as error:
                self._drop()
                raise store_error(doing, error) from error
            except BaseException:
                self._drop()
                raise

    def write_now(self, requests: Sequence[AnsweredRequest], now: datetime) -> bool:
        """True when all are committed without waiting; False when none is: `write` them.

        A server is never asked: its answer takes a wait for the network.
        """
        return False

    def close(self) -> None:
        """Close the connection; the next `write` opens a new one."""
        with self._lock:
            self._drop()

    @property
    def _driver(self) -> Any:
        return self._engine.dialect.loaded_dbapi

    def _write(self, statements: Sequence[Statement]) -> None:
        connected_before = self._connect()
        try:
            self._execute(statements)
        except self._driver.Error as error:
            is_disconnect = self._engine.dialect.is_disconnect(error, self._connection, None)
            if not connected_before or not is_disconnect:
                raise
            # The server was restarted since the last call. Nothing was committed, so the same
            # statements may succeed over a new connection.
            self._drop()
            self._connect()
            self._execute(statements)
        self._connection.commit()

    def _connect(self) -> bool:
        """Connect unless there is a usable connection; True when there was one."""
        if self._is_usable():
            return True
        self._drop()
        prepare_tables(self._engine)  # the database that answers now may be a new, empty one
        pooled = self._engine.raw_connection()
        self._connection = pooled.driver_connection
        pooled.detach()
        return False

    def _is_usable(self) -> bool:
        return self._connection is not None

    def _execute(self, statements: Sequence[Statement]) -> None:
        cursor = self._connection.cursor()
        for statement, values in statements:
            cursor.execute(statement, values)
        cursor.close()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # the connection may be broken: nothing to learn from it
                connection.rollback()
            with suppress(Exception):
                connection.close()
