"""The tables of the records: one row per answered request, its keys, labels and shadow answers.

What labels were before they were corrected has a table of its own.

A change here needs a revision in `storage/migrations/`, which brings it to existing databases.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from closedloop.errors import StoreError

MAX_KEY_LENGTH = 500  # PostgreSQL refuses index entries over 2,700 bytes


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware times in, aware UTC times out, also on SQLite, which keeps no time zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_METADATA = sa.MetaData()
# features: column -> the values of all rows; probabilities: class -> its probability in all rows;
# row_keys: one per row, or null; forgotten: the numbers of rows that were erased, whose values are
# null, so that the other rows keep their numbers. On PostgreSQL each partition has the primary key,
# and the whole table none: it would need the time (`storage/partitions.py`).
ANSWERS = sa.Table(
    "answers",
    _METADATA,
    sa.Column("request", sa.String(60), nullable=False),
    sa.Column("use_case", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("features", sa.Text, nullable=False),
    sa.Column("probabilities", sa.Text, nullable=False),
    sa.Column("row_keys", sa.Text),
    sa.Column("forgotten", sa.Text),
    sa.PrimaryKeyConstraint("request").ddl_if(dialect="sqlite"),
    sa.Index("answers_by_time", "use_case", "at"),
    postgresql_partition_by="RANGE (at)",
)
# The primary key is the index that finds the newest prediction of a key. `row` comes after
# `request`, as in the id of a prediction.
KEYS = sa.Table(
    "answer_keys",
    _METADATA,
    sa.Column("use_case", sa.String(100), primary_key=True),
    sa.Column("key", sa.String(MAX_KEY_LENGTH), primary_key=True),
    sa.Column("at", UtcDateTime, primary_key=True),
    sa.Column("request", sa.String(60), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (at)",
)
LABELS = sa.Table(
    "answer_labels",
    _METADATA,
    sa.Column("prediction_id", sa.String(80), primary_key=True),
    sa.Column("request", sa.String(60), nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)
# What a label was before each of its corrections: first, second, ... `recorded_at` is the time of
# that label; `replaced_by` is the name of a key, null without one.
CORRECTIONS = sa.Table(
    "label_corrections",
    _METADATA,
    sa.Column("prediction_id", sa.String(80), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("request", sa.String(60), nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Column("replaced_at", UtcDateTime, nullable=False),
    sa.Column("replaced_by", sa.String(100)),
)
# A row for each minute of each version in each process that answers; `times` is a JSON list.
SERVED = sa.Table(
    "served_minutes",
    _METADATA,
    sa.Column("use_case", sa.String(100), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("minute", UtcDateTime, primary_key=True),
    sa.Column("writer", sa.String(40), primary_key=True),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("times", sa.Text, nullable=False),
)
# What a candidate answered beside production, which was never given: `probabilities` as in ANSWERS,
# or the `error` that it raised.
SHADOWS = sa.Table(
    "shadow_answers",
    _METADATA,
    sa.Column("request", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("use_case", sa.String(100), nullable=False),
    sa.Column("probabilities", sa.Text),
    sa.Column("error", sa.Text),
    sa.Index("shadow_answers_by_version", "use_case", "version"),
    sqlite_with_rowid=False,
)
PROBES = sa.Table(
    "record_probes",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("padding", sa.Text, nullable=False),
)


def store_error(doing: str, error: Exception) -> StoreError:
    """The StoreError for an error of the database or its driver."""
    message = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return StoreError(
        where=f"records, to {doing}",
        wanted="a database that answers",
        got=message.splitlines()[0],
        then="check CLOSEDLOOP_DATABASE_URL, and that its server is running",
    )
