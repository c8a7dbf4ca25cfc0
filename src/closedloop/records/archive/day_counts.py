"""What the database has of a period, in a few numbers: a file with the same is a copy of it."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, select

from closedloop.records.tables import ANSWERS


class DayCounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many requests and rows, how much is noted of erased rows, and two of the requests.

    Requests are only added, deleted, or lose rows: each changes a number. Their ids are random, so
    the first and the last tell one database from another.
    """

    requests: int
    rows: int
    erased: int
    first: str
    last: str


def count_period(
    connection: Connection, use_case: str, since: datetime, until: datetime
) -> DayCounts:
    """The numbers of the requests with since <= time < until; reads none of their features."""
    answers = ANSWERS.c
    query = select(
        func.count(),
        func.coalesce(func.sum(answers.rows), 0),
        func.coalesce(func.sum(func.length(answers.forgotten)), 0),
        func.coalesce(func.min(answers.request), ""),
        func.coalesce(func.max(answers.request), ""),
    ).where(answers.use_case == use_case, answers.at >= since, answers.at < until)
    requests, rows, erased, first, last = connection.execute(query).one()
    return DayCounts(int(requests), int(rows), int(erased), first, last)
