"""Deletes old records by the partition, on PostgreSQL: what stays is copied, and the rest dropped.

A partition is dropped when at least half of its requests are to go: those that stay, of another use
case or of the hours between the end of a window and that of a month in UTC, are fewer. All of it is
one transaction, so after a crash everything is as before. Readers notice nothing until its end, and
then wait for milliseconds; so does the service, which records into another partition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from closedloop.records.tables import CORRECTIONS, LABELS, SHADOWS
from closedloop.storage import partitions
from closedloop.storage.partitions import Partition

# Between two tries at the last lock, everybody who waited for it takes a turn.
_TRIES, _PAUSE_SECONDS = 5, 0.5
_GO = "use_case = :use_case AND at < :before"


def drop_old(
    begin: Callable[[], AbstractContextManager[Connection]],
    use_case: str,
    before: datetime,
    now: datetime,
) -> int:
    """Delete what can be dropped of the requests before `before`; returns how many rows they had.

    Each partition takes a transaction of `begin`. What has not ended by `now`, or is held by
    somebody, is left.
    """
    with begin() as connection:
        chosen = [
            partition
            for partition in partitions.read_partitions(connection)
            if _is_old(partition, before, now)
            and _is_worth_it(connection, partition, use_case, before)
        ]
    dropped = 0
    for partition in chosen:
        with begin() as connection:
            try:
                with connection.begin_nested():
                    dropped += _drop(connection, partition, use_case, before)
            except DBAPIError as error:
                if not partitions.gave_way(error):
                    raise
    return dropped


def _is_old(partition: Partition, before: datetime, now: datetime) -> bool:
    # The service records into one that has not ended.
    has_ended = partition.end is not None and partition.end <= now
    return has_ended and (partition.start is None or partition.start < before)


def _is_worth_it(
    connection: Connection, partition: Partition, use_case: str, before: datetime
) -> bool:
    counts = f"SELECT count(*) FILTER (WHERE {_GO}), count(*) FROM {partition.of('answers')}"
    going, all_of_it = connection.execute(
        text(counts), {"use_case": use_case, "before": before}
    ).one()
    return bool(going) and 2 * going >= all_of_it


def _drop(connection: Connection, partition: Partition, use_case: str, before: datetime) -> int:
    def run(statement: str) -> Any:
        return connection.execute(text(statement), {"use_case": use_case, "before": before})

    partitions.lock_for_copy(connection, partition)
    if partition not in partitions.read_partitions(connection):
        return 0  # another process dropped it, and joined what was empty
    answers = partition.of("answers")
    rows = run(f'SELECT coalesce(sum("rows"), 0) FROM {answers} WHERE {_GO}').scalar_one()
    for table in partitions.TABLES:
        copy = partitions.make_copy(connection, partition, table)
        run(f"INSERT INTO {copy} SELECT * FROM {partition.of(table)} WHERE NOT ({_GO})")
    # Last, because a label may still come for a request that goes.
    for name in (LABELS.name, CORRECTIONS.name, SHADOWS.name):
        run(
            f"DELETE FROM {name} AS its USING (SELECT request FROM {answers} WHERE {_GO}) AS old"
            " WHERE its.request = old.request"
        )
    _lock(connection, partition)
    partitions.put_in_place(connection, partition)
    partitions.join_empty(connection, upto=partition)
    return int(rows)


def _lock(connection: Connection, partition: Partition) -> None:
    for tried in range(1, _TRIES + 1):
        try:
            with connection.begin_nested():
                partitions.lock_tables(connection, partition)
            return
        except DBAPIError as error:
            if tried == _TRIES or not partitions.gave_way(error):
                raise
        time.sleep(_PAUSE_SECONDS)
