"""Rows of the labels' table, for the statements that look for them and insert them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, any_, cast, select, true
from sqlalchemy.dialects import postgresql, sqlite

from closedloop.records.listed import Listed, list_texts
from closedloop.records.tables import ANSWERS, LABELS

COLUMNS = ("prediction_id", "request", "label", "at")


def list_labels(labels: Mapping[str, str], now: datetime, connection: Connection) -> Listed:
    """Prediction id -> label, as rows of the table."""
    rows = [(id, id.rpartition("-")[0], label, now) for id, label in labels.items()]
    return Listed(rows, connection.dialect.name)


def select_labels(rows: Listed) -> Select[Any]:
    """The query of `list_labels`' rows."""
    return select(rows.text(0), rows.text(1), rows.text(2), rows.time(3))


def insert_labels(connection: Connection, rows: Select[Any], *, replace: bool = False) -> int:
    """Insert rows of the table, leaving out or replacing those on record; returns how many."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    # "where true", because SQLite reads "from ... on conflict" as the condition of a join.
    insert = dialect.insert(LABELS).from_select(COLUMNS, rows.where(true()))
    new = insert.excluded
    statement = (
        insert.on_conflict_do_update(
            index_elements=[LABELS.c.prediction_id], set_={"label": new.label, "at": new.at}
        )
        if replace
        else insert.on_conflict_do_nothing()
    )
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount


def listed(connection: Connection, values: Iterable[str]) -> Select[tuple[str]]:
    """The values, for the IN of a query."""
    return select(list_texts(values, connection.dialect.name))


def among(connection: Connection, requests: Iterable[str]) -> ColumnElement[bool]:
    """Whether an answer is that of one of the requests.

    PostgreSQL looks them up in the index of each partition. Joined with `listed`, it would read
    whole partitions until it has statistics of them.
    """
    if connection.dialect.name == "sqlite":
        return ANSWERS.c.request.in_(listed(connection, requests))
    return ANSWERS.c.request == any_(cast(list(requests), postgresql.ARRAY(Text)))
