"""Old requests out of the records, with their keys and labels, a few at a time, so that those who
answer need not wait for long."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import accumulate, takewhile

from sqlalchemy import Connection, bindparam, delete, func, select

from closedloop.records.request import read_column
from closedloop.records.tables import ANSWERS, KEYS, LABELS

_MOST_REQUESTS, _MOST_ROWS = 200, 5_000  # in one transaction; a single request may have more rows


def delete_some(connection: Connection, use_case: str, before: datetime) -> int:
    """Delete the oldest requests answered before `before`, whole; how many rows they had, 0 when
    none is left."""
    oldest = (
        select(ANSWERS.c.request, ANSWERS.c.at, ANSWERS.c.rows, ANSWERS.c.row_keys)
        .where(ANSWERS.c.use_case == use_case, ANSWERS.c.at < before)
        .order_by(ANSWERS.c.at, ANSWERS.c.request)
        .limit(_MOST_REQUESTS)
    )
    found = connection.execute(oldest).all()
    if not found:
        return 0
    fitting = sum(
        1 for _ in takewhile(lambda rows: rows <= _MOST_ROWS, accumulate(one.rows for one in found))
    )
    found = found[: max(fitting, 1)]
    requests = [one.request for one in found]
    # Each by its place in the primary key: looking for the requests alone would read all keys there
    # are.
    keys = [
        {"of_key": key, "of_time": one.at, "of_request": one.request}
        for one in found
        for key in set(read_column(json.loads(one.row_keys or "null"), one.rows)) - {None}
    ]
    if keys:
        meant = (
            KEYS.c.key == bindparam("of_key"),
            KEYS.c.at == bindparam("of_time"),
            KEYS.c.request == bindparam("of_request"),
        )
        connection.execute(delete(KEYS).where(KEYS.c.use_case == use_case, *meant), keys)
    connection.execute(delete(LABELS).where(LABELS.c.request.in_(requests)))
    connection.execute(delete(ANSWERS).where(ANSWERS.c.request.in_(requests)))
    return sum(one.rows for one in found)


def count_rows(connection: Connection, use_case: str, before: datetime) -> int:
    """How many rows were answered before `before`."""
    rows = select(func.coalesce(func.sum(ANSWERS.c.rows), 0)).where(
        ANSWERS.c.use_case == use_case, ANSWERS.c.at < before
    )
    return int(connection.execute(rows).scalar_one())


def find_newest_labelled(connection: Connection, use_case: str) -> datetime | None:
    """When the newest request that has a label was answered; None without any."""
    labelled = select(LABELS.c.request).where(LABELS.c.request == ANSWERS.c.request).exists()
    newest = (
        select(ANSWERS.c.at)
        .where(ANSWERS.c.use_case == use_case, labelled)
        .order_by(ANSWERS.c.at.desc())
        .limit(1)
    )
    return connection.execute(newest).scalar_one_or_none()
