"""How much was answered by day, and how long labels took, by the newest records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import quantiles

import sqlalchemy as sa
from sqlalchemy import Connection, func, select

from closedloop.records.tables import ANSWERS, LABELS

# What is read of a use case's newest requests.
MOST_REQUESTS, MOST_LABELS = 200_000, 5_000
_REQUESTS_WITH_LABELS = 20_000


@dataclass(frozen=True)
class Day:
    """Requests and rows that were answered on a day, in UTC."""

    day: date
    requests: int
    rows: int


@dataclass(frozen=True)
class LabelDelay:
    """How long the newest labels took: the median, and what nine of ten stay below."""

    labels: int
    median: timedelta
    most: timedelta


def count_days(connection: Connection, use_case: str, since: datetime) -> tuple[Day, ...]:
    """The days from `since` on with at least one answer, oldest first.

    Of more than `MOST_REQUESTS` requests the newest count, and a day that is not whole is left out.
    """
    newest = (
        select(ANSWERS.c.at, ANSWERS.c.rows)
        .where(ANSWERS.c.use_case == use_case, ANSWERS.c.at >= since)
        .order_by(ANSWERS.c.at.desc())
        .limit(MOST_REQUESTS)
        .subquery()
    )
    server = connection.dialect.name == "postgresql"
    moment = func.timezone("UTC", newest.c.at) if server else newest.c.at
    day = sa.cast(func.date(moment, type_=sa.String()), sa.String())
    query = select(day, func.count(), func.sum(newest.c.rows)).group_by(day).order_by(day)
    found = [
        Day(date.fromisoformat(name), requests, int(rows))
        for name, requests, rows in connection.execute(query)
    ]
    whole = sum(each.requests for each in found) < MOST_REQUESTS
    return tuple(found if whole else found[1:] or found)


def measure_label_delay(connection: Connection, use_case: str) -> LabelDelay | None:
    """How long labels took after the answer; None without any.

    Of the newest requests: labels that are still to come are not counted.
    """
    newest = (
        select(ANSWERS.c.request, ANSWERS.c.at)
        .where(ANSWERS.c.use_case == use_case)
        .order_by(ANSWERS.c.at.desc())
        .limit(_REQUESTS_WITH_LABELS)
        .subquery()
    )
    pairs = (
        select(newest.c.at, LABELS.c.at)
        .join(LABELS, LABELS.c.request == newest.c.request)
        .limit(MOST_LABELS)
    )
    seconds = [
        max((labelled - answered).total_seconds(), 0.0)
        for answered, labelled in connection.execute(pairs)
    ]
    if not seconds:
        return None
    tenths = quantiles(seconds, n=10) if len(seconds) > 1 else seconds * 9
    return LabelDelay(
        len(seconds), timedelta(seconds=tenths[4]), timedelta(seconds=max(tenths[8], 0.0))
    )
