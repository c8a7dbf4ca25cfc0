"""Erases the rows of one key, for good: answers, labels and what these were, a few at a time.

A request may hold rows of several people. Its other rows keep their numbers, and so their ids: the
values of an erased row become null, and its number is noted as forgotten.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, delete, func, select, update

from closedloop.errors import StoreError
from closedloop.records.request import from_json, name_prediction, read_forgotten, to_json
from closedloop.records.tables import ANSWERS, CORRECTIONS, KEYS, LABELS, SHADOWS

MAX_ROWS = 200  # in one transaction


@dataclass(frozen=True)
class FoundRows:
    """The rows of a key: when each was answered, and how many requests, labels and corrections."""

    times: tuple[datetime, ...]
    requests: int
    labels: int
    corrections: int

    @property
    def rows(self) -> int:
        return len(self.times)


def find_rows(connection: Connection, use_case: str, key: str) -> FoundRows:
    """Look for the rows of a key; changes nothing."""
    found = connection.execute(_rows_of(use_case, key)).all()
    ids = [name_prediction(row.request, row.row) for row in found]
    return FoundRows(
        tuple(row.at for row in found),
        len({row.request for row in found}),
        *(_count(connection, table, ids) for table in (LABELS, CORRECTIONS)),
    )


def erase_some(connection: Connection, use_case: str, key: str) -> tuple[str, ...]:
    """Erase the oldest rows of a key; returns the ids of their predictions, none at the end."""
    found = connection.execute(_rows_of(use_case, key).limit(MAX_ROWS)).all()
    rows: dict[str, set[int]] = {}
    for row in found:
        rows.setdefault(row.request, set()).add(row.row)
    for request, numbers in rows.items():
        _erase_from(connection, request, numbers)
        this = (KEYS.c.use_case == use_case, KEYS.c.key == key, KEYS.c.request == request)
        connection.execute(delete(KEYS).where(*this, KEYS.c.row.in_(numbers)))
    ids = tuple(name_prediction(row.request, row.row) for row in found)
    erase_labels(connection, ids)
    return ids


def erase_labels(connection: Connection, ids: Sequence[str]) -> None:
    """Erase the labels of predictions, and what these were.

    A label may have been on its way while its prediction was erased.
    """
    for table in (LABELS, CORRECTIONS):
        for some in _in_parts(ids):
            connection.execute(delete(table).where(table.c.prediction_id.in_(some)))


def wipe(engine: Engine) -> None:
    """Overwrite on SQLite what was erased: rewrite the file, and empty its log.

    Raises StoreError while somebody reads an older state: run it again. A server is left alone.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("VACUUM")
        busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError(
            where="records, to overwrite what was erased",
            wanted="nobody who still reads an older state",
            got="a reader, so SQLite's log could not be emptied",
            then="when it has ended, run the same command again",
        )


def overwrite_deleted(connection: Connection) -> None:
    """Make SQLite overwrite with zeros what this connection deletes."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA secure_delete=ON")


def _erase_from(connection: Connection, request: str, rows: set[int]) -> None:
    """Erase rows of one request, or all of it when no other row is left."""
    this = ANSWERS.c.request == request
    answer = connection.execute(select(ANSWERS).where(this).with_for_update()).first()
    if answer is None:
        return
    gone = sorted(read_forgotten(answer.forgotten) | rows)
    whole = len(gone) == answer.rows
    if whole:
        for table in (LABELS, CORRECTIONS, SHADOWS, ANSWERS):
            connection.execute(delete(table).where(table.c.request == request))
        return
    _erase_shadows(connection, request, gone)
    keys = from_json(answer.row_keys or "null")
    left = [None if row in rows else key for row, key in enumerate(keys or ())]
    connection.execute(
        update(ANSWERS)
        .where(this)
        .values(
            features=_without(answer.features, gone),
            probabilities=_without(answer.probabilities, gone),
            row_keys=to_json(left).decode() if any(key is not None for key in left) else None,
            forgotten=to_json(gone).decode(),
        )
    )


def _erase_shadows(connection: Connection, request: str, rows: Sequence[int]) -> None:
    this = SHADOWS.c.request == request
    for shadow in connection.execute(select(SHADOWS).where(this)).all():
        if shadow.probabilities:
            connection.execute(
                update(SHADOWS)
                .where(this, SHADOWS.c.version == shadow.version)
                .values(probabilities=_without(shadow.probabilities, rows))
            )


def _without(written: str, rows: Iterable[int]) -> str:
    """Columns as they are recorded, with null in these rows."""
    columns: dict[str, list[Any] | str | None] = from_json(written)
    return to_json({name: _null(column, rows) for name, column in columns.items()}).decode()


def _null(column: list[Any] | str | None, rows: Iterable[int]) -> list[Any] | str | None:
    if column is None:
        return None
    if isinstance(column, list):
        for row in rows:
            column[row] = None
        return column
    numbers = bytearray(base64.b64decode(column))
    for row in rows:
        struct.pack_into("<d", numbers, 8 * row, float("nan"))
    return base64.b64encode(numbers).decode()


def _rows_of(use_case: str, key: str) -> Any:
    rows = select(KEYS.c.request, KEYS.c.row, KEYS.c.at)
    rows = rows.where(KEYS.c.use_case == use_case, KEYS.c.key == key)
    return rows.order_by(KEYS.c.at, KEYS.c.request, KEYS.c.row)


def _count(connection: Connection, table: sa.Table, ids: Sequence[str]) -> int:
    counts = (
        select(func.count()).select_from(table).where(table.c.prediction_id.in_(some))
        for some in _in_parts(ids)
    )
    return sum(int(connection.execute(count).scalar_one()) for count in counts)


def _in_parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """SQLite's older limit is 999 values."""
    return (ids[start : start + 500] for start in range(0, len(ids), 500))
