"""Reads recorded rows with their labels, as they were sent; rows that were erased are left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from closedloop.records.answer_pages import read_pages
from closedloop.records.request import from_json, read_forgotten
from closedloop.records.tables import ANSWERS, LABELS
from closedloop.use_case.contract import UseCase
from closedloop.windows.tables.read_ahead import read_ahead

if TYPE_CHECKING:
    # Imported where rows are read: the service only writes.
    import pandas as pd
    from numpy.typing import NDArray

    from closedloop.records.stored_columns import Column


def read_rows(
    connection: Connection, use_case: UseCase, since: datetime | None, until: datetime | None
) -> pd.DataFrame:
    """What `Records.read` promises."""
    from closedloop.records.stored_columns import join_columns, to_frame

    parts = list(_read_columns(connection, use_case, since, until))
    rows = sum(number for number, _ in parts)
    frame = {}
    for name in name_columns(use_case):
        # One column at a time, each part given up: more than that need not fit into memory.
        column = join_columns([(number, columns.pop(name)) for number, columns in parts])
        frame[name] = column.values(rows)
    return to_frame(frame)


def read_chunks(
    connection: Connection, use_case: UseCase, since: datetime | None, until: datetime | None
) -> Iterator[pd.DataFrame]:
    """What `Records.read_chunks` promises, every row of it."""
    from closedloop.records.stored_columns import to_frame

    found = False
    for rows, columns in _read_columns(connection, use_case, since, until):
        found = True
        yield to_frame(
            {
                name: column.values(rows, null_is_number=name in use_case.numeric)
                for name, column in columns.items()
            }
        )
    if not found:
        yield read_rows(connection, use_case, since, until)


def read_keys(
    connection: Connection, use_case: UseCase, since: datetime | None, until: datetime | None
) -> Iterator[NDArray[Any]]:
    """The keys of the same rows, some at a time."""
    from closedloop.records.stored_columns import decode_keys, find_kept

    for page in read_pages(connection, use_case.name, since, until, features=False):
        yield decode_keys(page)[find_kept(page)]


def name_columns(use_case: UseCase) -> list[str]:
    """The columns of recorded rows, in order."""
    key = [] if use_case.key is None else [use_case.key]
    return [*key, *use_case.columns, use_case.target.column]


def _read_columns(
    connection: Connection, use_case: UseCase, since: datetime | None, until: datetime | None
) -> Iterator[tuple[int, dict[str, Column]]]:
    """The number of rows and the columns of each page, without what was erased."""
    from closedloop.records import stored_columns as stored

    pages = read_pages(connection, use_case.name, since, until)
    # SQLite in memory belongs to the thread that opened it.
    for page in read_ahead(pages) if connection.engine.url.database else pages:
        columns = {}
        if use_case.key is not None:
            columns[use_case.key] = stored.Column(others=stored.decode_keys(page))
        columns |= stored.decode_features(page, use_case)
        columns[use_case.target.column] = stored.place_labels(page)
        kept = stored.find_kept(page)
        if not kept.all():
            columns = {name: column.take(kept) for name, column in columns.items()}
        yield int(kept.sum()), columns


def read_newest_columns(
    connection: Connection, use_case: str
) -> tuple[datetime, frozenset[str]] | None:
    """When the newest request was answered, and the features on record of it; None without one."""
    query = select(ANSWERS.c.at, ANSWERS.c.features).where(ANSWERS.c.use_case == use_case)
    query = query.order_by(ANSWERS.c.at.desc(), ANSWERS.c.request.desc()).limit(1)
    found = connection.execute(query).first()
    return None if found is None else (found.at, frozenset(from_json(found.features)))


def count_rows_and_labels(connection: Connection, use_case: str) -> tuple[int, int]:
    """How many predictions and labels a use case has."""
    of_use_case = ANSWERS.c.use_case == use_case
    answered = select(func.coalesce(func.sum(ANSWERS.c.rows), 0)).where(of_use_case)
    erased = select(ANSWERS.c.forgotten).where(of_use_case, ANSWERS.c.forgotten.is_not(None))
    labelled = select(func.count()).select_from(
        LABELS.join(ANSWERS, LABELS.c.request == ANSWERS.c.request)
    )
    gone = sum(len(read_forgotten(written)) for written in connection.execute(erased).scalars())
    return (
        int(connection.execute(answered).scalar_one()) - gone,
        int(connection.execute(labelled.where(of_use_case)).scalar_one()),
    )
