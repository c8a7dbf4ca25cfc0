"""The partitions of the records on PostgreSQL: answers and their keys, by the time of the answer.

Together they cover all of time, so a row has a place whether or not somebody made one for it: the
oldest has no beginning, and the last one, which is open, has no end. Each other one holds a month,
in UTC, and is named after its end. Both tables have the same ones. SQLite has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

# A partitioned table cannot have a key without the time: that of a request is its partition's.
_OWN_KEYS = {"answers": "(PRIMARY KEY (request))", "answer_keys": ""}
TABLES = tuple(_OWN_KEYS)
_OPEN = "open"
_MONTHS = 3  # this month and the next two
# Whoever waits for a lock keeps everybody waiting who comes later. Shorter than PostgreSQL's
# `deadlock_timeout` of a second: where two wait for each other, this one gives way.
_WAIT_FOR_LOCK = "SET LOCAL lock_timeout = '500ms'"
# Errors for which something else is done: locked, deadlock, removed by somebody, not allowed.
_WAYS_OUT = ("55P03", "40P01", "42P01", "42501")
# None for a role that does not own the tables, such as the API's: it cannot change partitions.
_ENDS = sa.text(
    "SELECT part.relname,"
    r" CAST((regexp_match(pg_get_expr(part.relpartbound, part.oid), 'TO \(''(.+)''\)'))[1]"
    " AS timestamptz) AS upper"
    " FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid"
    " JOIN pg_class AS whole ON whole.oid = inhparent"
    " WHERE inhparent = to_regclass('answers') AND pg_has_role(whole.relowner, 'USAGE')"
    " ORDER BY upper NULLS LAST"
)


@dataclass(frozen=True)
class Partition:
    """The rows with start <= time < end of both tables; None for no beginning or no end."""

    name: str
    start: datetime | None
    end: datetime | None

    def of(self, table: str) -> str:
        """Its name in the database."""
        return f"{table}_{self.name}"

    @property
    def bounds(self) -> str:
        """As PostgreSQL wants them."""
        start, end = (
            unbounded if moment is None else f"'{moment.isoformat()}'"
            for moment, unbounded in ((self.start, "MINVALUE"), (self.end, "MAXVALUE"))
        )
        return f"FROM ({start}) TO ({end})"

    @property
    def condition(self) -> str:
        """The same as a condition."""
        bounds = ((">=", self.start), ("<", self.end))
        return " AND ".join(
            f"at {sign} '{moment.isoformat()}'" for sign, moment in bounds if moment is not None
        )


def read_partitions(connection: Connection) -> list[Partition]:
    """All of them in order; none on SQLite, and none for a role that cannot change them."""
    if connection.dialect.name != "postgresql":
        return []
    found = connection.execute(_ENDS).all()
    ends = [None, *(end and end.astimezone(UTC) for _, end in found)]
    names = [name.removeprefix("answers_") for name, _ in found]
    return [Partition(name, *bounds) for name, bounds in zip(names, pairwise(ends), strict=True)]


def is_due(connection: Connection, now: datetime | None = None) -> bool:
    """Whether `make_ahead` would make a partition; by the database's clock unless `now` is given.

    Changes nothing.
    """
    found = read_partitions(connection)
    return bool(found) and bool(_missing_ends(connection, found[-1], now))


def make_ahead(connection: Connection, now: datetime | None = None) -> None:
    """In a transaction that excludes upgrades, make the partitions of this month and the next two.

    The open one becomes the first that is missing, with the rows that it has; a new one follows.
    Raises SQLAlchemy's OperationalError, `gave_way`, when somebody holds the tables.
    """
    found = read_partitions(connection)
    ends = _missing_ends(connection, found[-1], now) if found else []
    if ends:
        lock_tables(connection)
    start = found[-1].start if found else None
    for end in ends:
        _end_open(connection, Partition(f"before_{end:%Y_%m}", start, end))
        start = end


def lock_tables(connection: Connection, *partitions: Partition) -> None:
    """Keep everybody from both tables and the partitions, until the transaction ends.

    Raises SQLAlchemy's OperationalError, `gave_way`, when one of them takes half a second.
    """
    names = [f"ONLY {table}" for table in TABLES]
    names += [partition.of(table) for partition in partitions for table in TABLES]
    connection.exec_driver_sql(_WAIT_FOR_LOCK)
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")


def lock_for_copy(connection: Connection, partition: Partition) -> None:
    """Keep everybody from changing a partition, who may go on reading it; as `lock_tables`."""
    names = ", ".join(partition.of(table) for table in TABLES)
    connection.exec_driver_sql(_WAIT_FOR_LOCK)
    connection.exec_driver_sql(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")


def gave_way(error: DBAPIError) -> bool:
    """Whether somebody else held what should be locked, or had removed it, or it is forbidden."""
    return getattr(error.orig, "sqlstate", None) in _WAYS_OUT


def make_copy(connection: Connection, partition: Partition, table: str) -> str:
    """An empty table that `put_in_place` can put in the place of a partition; returns its name."""
    old, new = partition.of(table), f"{partition.of(table)}_new"
    connection.exec_driver_sql(f"CREATE TABLE {new} (LIKE {old} INCLUDING ALL)")
    # PostgreSQL then need not read it, while it keeps everybody waiting.
    connection.exec_driver_sql(
        f"ALTER TABLE {new} ADD CONSTRAINT {new}_bounds CHECK ({partition.condition})"
    )
    return new


def put_in_place(connection: Connection, partition: Partition) -> None:
    """Drop a partition and put its copies in its place, after `lock_tables`."""
    for table in TABLES:
        old = partition.of(table)
        _run(
            connection,
            f"ALTER TABLE {table} DETACH PARTITION {old}",
            f"DROP TABLE {old}",
            f"ALTER TABLE {old}_new RENAME TO {old}",
            f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES {partition.bounds}",
            f"ALTER TABLE {old} DROP CONSTRAINT {old}_new_bounds",
        )


def join_empty(connection: Connection, upto: Partition) -> None:
    """While the two oldest partitions are empty, make one of them, after `lock_tables`.

    Those after `upto` stay as they are.
    """
    found = read_partitions(connection)
    found = found[: [part.name for part in found].index(upto.name) + 1]
    while len(found) > 1 and all(_is_empty(connection, part) for part in found[:2]):
        oldest, second, *others = found
        joined = Partition(second.name, oldest.start, second.end)
        for table in TABLES:
            _run(
                connection,
                *(f"DROP TABLE {part.of(table)}" for part in (oldest, second)),
                _create(joined, table),
            )
        found = [joined, *others]


def _end_open(connection: Connection, ended: Partition) -> None:
    """Give the open partition an end, and let a new one begin there."""
    following = Partition(_OPEN, ended.end, None)
    for table in TABLES:
        old, new = ended.of(table), following.of(table)
        _run(
            connection,
            f"ALTER TABLE {table} DETACH PARTITION {new}",
            f"ALTER TABLE {new} RENAME TO {old}",
            _create(following, table),
            # By a clock that is ahead.
            f"WITH later AS (DELETE FROM {old} WHERE {following.condition} RETURNING *)"
            f" INSERT INTO {new} SELECT * FROM later",
            f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES {ended.bounds}",
        )


def _missing_ends(connection: Connection, last: Partition, now: datetime | None) -> list[datetime]:
    """Where partitions should end that the open one, the last, still covers."""
    moment = now or connection.execute(sa.text("SELECT now()")).scalar_one()
    ends = [moment.astimezone(UTC)]
    for _ in range(_MONTHS):
        day = ends[-1].replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        ends.append((day + timedelta(days=32)).replace(day=1))
    return [end for end in ends[1:] if last.start is None or end > last.start]


def _create(partition: Partition, table: str) -> str:
    return (
        f"CREATE TABLE {partition.of(table)} PARTITION OF {table} {_OWN_KEYS[table]}"
        f" FOR VALUES {partition.bounds}"
    )


def _is_empty(connection: Connection, partition: Partition) -> bool:
    found = (f"EXISTS (SELECT FROM {partition.of(table)})" for table in TABLES)
    return not connection.exec_driver_sql(f"SELECT {' OR '.join(found)}").scalar_one()


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
