"""Answered requests into the database: as few statements as possible, over one connection that is
kept.

The driver then does nearly all of the work outside of Python's lock, while the same process goes on
answering.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.records.request import AnsweredRequest, to_json
from closedloop.records.tables import refusal
from closedloop.storage.upgrade import prepare_tables

Sync = Literal["normal", "full"]
_COLUMNS = ("request", "use_case", "version", "at", "rows", "features", "probabilities", "row_keys")
_MOST_REQUESTS = 120  # SQLite's older limit is 999 values
_DOING = "record predictions"


class AnswerWriter:
    """Writes requests, each call all or nothing. Any thread may call it; they take turns.

    `sync` is how SQLite treats the disk: `normal` survives the death of the process, `full` that of
    the machine, too. Without `checkpoints` somebody else brings SQLite's log into the database.
    """

    def __init__(self, engine: Engine, sync: Sync, *, checkpoints: bool = True) -> None:
        self._engine, self._sync, self._checkpoints = engine, sync, checkpoints
        self._turn = Lock()
        self._connection: Any = None
        self._file: tuple[Path, tuple[int, int]] | None = None

    def write(self, requests: Sequence[AnsweredRequest], now: datetime) -> None:
        """Commit all of them; `now` is the time of those without one of their own. Raises
        StoreError, and then none is recorded."""
        statements = insert_statements(requests, now, self._engine.dialect.name)
        with self._turn:
            try:
                kept = self._keep_if_sound()
                try:
                    self._execute(statements)
                except self._driver.Error as error:
                    # A server that was restarted meanwhile: nothing was committed, and over a new
                    # connection it may well be.
                    if not kept or not self._engine.dialect.is_disconnect(
                        error, self._connection, None
                    ):
                        raise
                    self._open_anew()
                    self._execute(statements)
                self._connection.commit()
            except (self._driver.Error, SQLAlchemyError) as error:
                self._drop()
                raise refusal(_DOING, error) from error
            except BaseException:
                self._drop()
                raise

    def close(self) -> None:
        """Let go of the connection; the next `write` makes a new one."""
        with self._turn:
            self._drop()

    @property
    def _driver(self) -> Any:
        return self._engine.dialect.loaded_dbapi

    def _execute(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        cursor = self._connection.cursor()
        # SQLite's single statement is a transaction of its own, and the quickest one.
        if len(statements) > 1 and self._engine.dialect.name == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
        for statement, values in statements:
            cursor.execute(statement, values)
        cursor.close()

    def _keep_if_sound(self) -> bool:
        """Whether the connection that is there goes on; else there is a new one."""
        if self._connection is not None and (
            self._file is None or identify(self._file[0]) == self._file[1]
        ):
            return True
        self._open_anew()
        return False

    def _open_anew(self) -> None:
        self._drop()
        prepare_tables(self._engine)  # what answers now may be a new, empty database
        pooled = self._engine.raw_connection()
        pooled.detach()
        self._connection = pooled
        if self._engine.dialect.name == "sqlite":
            cursor = pooled.cursor()
            cursor.execute(f"PRAGMA synchronous={self._sync.upper()}")
            if not self._checkpoints:
                cursor.execute("PRAGMA wal_autocheckpoint=0")
            path = cursor.execute("PRAGMA database_list").fetchone()[2]
            cursor.close()
            # Whoever holds a file that was removed or replaced writes into nothing, and is not
            # told.
            self._file = (Path(path), identify(Path(path))) if path else None

    def _drop(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it is of no use any more, whatever it says
                connection.rollback()
            with suppress(Exception):
                connection.close()


def identify(path: Path) -> tuple[int, int]:
    """Which file lies there now; another one, or none, is another answer."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_dev, found.st_ino


def insert_statements(
    requests: Sequence[AnsweredRequest], now: datetime, dialect: str
) -> list[tuple[str, Sequence[Any]]]:
    """SQL and its values, to be executed as one transaction. Raises StoreError for a time without
    zone."""
    at = _time(now, dialect)
    found: list[tuple[str, Sequence[Any]]] = []
    for start in range(0, len(requests), _MOST_REQUESTS):
        batch = requests[start : start + _MOST_REQUESTS]
        found.append(
            (
                _insert(len(batch), dialect),
                tuple(chain.from_iterable(_values(one, at, dialect) for one in batch)),
            )
        )
        keyed = [one.request for one in batch if one.keys]
        if keyed:
            found.append((_insert_keys(len(keyed), dialect), keyed))
    return found


@lru_cache(maxsize=2 * _MOST_REQUESTS)
def _insert(requests: int, dialect: str) -> str:
    row = f"({_places(len(_COLUMNS), dialect)})"
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    return f"INSERT INTO answers ({columns}) VALUES {', '.join([row] * requests)}"


@lru_cache(maxsize=2 * _MOST_REQUESTS)
def _insert_keys(requests: int, dialect: str) -> str:
    """The keys of requests that have just been inserted, parted by the database itself."""
    parted, row = ("json_each(a.row_keys) AS k", "k.key")
    if dialect != "sqlite":
        parted, row = (
            "jsonb_array_elements_text(a.row_keys::jsonb) WITH ORDINALITY AS k(value, place)",
            "k.place - 1",
        )
    return (
        f'INSERT INTO answer_keys (use_case, key, at, request, "row") SELECT a.use_case, k.value, a.at, a.request, {row} '
        f"FROM answers AS a, {parted} WHERE a.request IN ({_places(requests, dialect)}) AND k.value IS NOT NULL"
    )


def _places(values: int, dialect: str) -> str:
    return ", ".join(["?" if dialect == "sqlite" else "%s"] * values)


def _values(one: AnsweredRequest, now: datetime | str, dialect: str) -> tuple[Any, ...]:
    return (
        one.request,
        one.use_case,
        one.version,
        now if one.at is None else _time(one.at, dialect),
        one.rows,
        one.features.decode(),
        one.probabilities.decode(),
        to_json(one.keys).decode() if one.keys else None,
    )


def _time(moment: datetime, dialect: str) -> datetime | str:
    if moment.tzinfo is None:
        raise StoreError(
            where="time of a prediction",
            wanted="an aware datetime",
            got=f"{moment}, which has no time zone",
            then="say in which zone it is meant",
        )
    moment = moment.astimezone(UTC)
    # SQLite has no times: this is the text that SQLAlchemy reads back and that sorts by time.
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}" if dialect == "sqlite" else moment
