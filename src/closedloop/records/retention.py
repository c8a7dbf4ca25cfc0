"""Deletes old requests and all that is theirs, a few at a time, so that answers wait little."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import accumulate, takewhile

from sqlalchemy import Connection, bindparam, delete, func, select

from closedloop.records.request import read_column
from closedloop.records.tables import ANSWERS, CORRECTIONS, KEYS, LABELS, SHADOWS

# In one transaction; a single request may have more rows.
_MAX_REQUESTS, _MAX_ROWS = 200, 1_000


def delete_old(
    begin: Callable[[], AbstractContextManager[Connection]], use_case: str, before: datetime
) -> int:
    """Delete all requests before `before`, in transactions of `begin`; returns how many rows."""
    deleted, rows, held_seconds = 0, 1, 0.0
    while rows:
        # As long as the lock was held: SQLite's waiting connections only check now and then
        # whether it is free.
        time.sleep(held_seconds)
        began = time.monotonic()
        with begin() as connection:
            rows = delete_some(connection, use_case, before)
        deleted, held_seconds = deleted + rows, time.monotonic() - began
    return deleted


def delete_some(connection: Connection, use_case: str, before: datetime) -> int:
    """Delete the oldest requests answered before `before`; returns how many rows they had."""
    oldest = (
        select(ANSWERS.c.request, ANSWERS.c.at, ANSWERS.c.rows, ANSWERS.c.row_keys)
        .where(ANSWERS.c.use_case == use_case, ANSWERS.c.at < before)
        .order_by(ANSWERS.c.at, ANSWERS.c.request)
        .limit(_MAX_REQUESTS)
    )
    found = connection.execute(oldest).all()
    if not found:
        return 0
    sums = accumulate(answer.rows for answer in found)
    fitting = sum(1 for _ in takewhile(lambda rows: rows <= _MAX_ROWS, sums))
    found = found[: max(fitting, 1)]
    requests = [answer.request for answer in found]
    # Each key by its place in the primary key: selecting by request would read all keys.
    keys = [
        {"of_key": key, "of_time": answer.at, "of_request": answer.request}
        for answer in found
        for key in set(read_column(json.loads(answer.row_keys or "null"), answer.rows)) - {None}
    ]
    if keys:
        place = (
            KEYS.c.key == bindparam("of_key"),
            KEYS.c.at == bindparam("of_time"),
            KEYS.c.request == bindparam("of_request"),
        )
        connection.execute(delete(KEYS).where(KEYS.c.use_case == use_case, *place), keys)
    for table in (LABELS, CORRECTIONS, SHADOWS):
        connection.execute(delete(table).where(table.c.request.in_(requests)))
    # With the time, so that PostgreSQL looks into old partitions only.
    old = ANSWERS.c.at < before
    connection.execute(delete(ANSWERS).where(ANSWERS.c.request.in_(requests), old))
    return sum(answer.rows for answer in found)


def count_rows(connection: Connection, use_case: str, before: datetime) -> int:
    """How many rows were answered before `before`."""
    rows = select(func.coalesce(func.sum(ANSWERS.c.rows), 0)).where(
        ANSWERS.c.use_case == use_case, ANSWERS.c.at < before
    )
    return int(connection.execute(rows).scalar_one())


def find_newest_labelled(connection: Connection, use_case: str) -> datetime | None:
    """When the newest request with a label was answered; None if there is none."""
    labelled = select(LABELS.c.request).where(LABELS.c.request == ANSWERS.c.request).exists()
    newest = (
        select(ANSWERS.c.at)
        .where(ANSWERS.c.use_case == use_case, labelled)
        .order_by(ANSWERS.c.at.desc())
        .limit(1)
    )
    return connection.execute(newest).scalar_one_or_none()
