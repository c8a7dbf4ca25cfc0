"""Reads recorded rows with their labels, as they were sent; rows that were erased are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, func, select

from closedloop.records.answer_pages import read_pages
from closedloop.records.archive.error import ArchiveError
from closedloop.records.archive.span import Span
from closedloop.records.archive.spans import split_window, warn
from closedloop.records.request import from_json, read_forgotten
from closedloop.records.tables import ANSWERS, LABELS
from closedloop.use_case.contract import UseCase
from closedloop.use_case.source import Every
from closedloop.windows.periods import end_of, start_of
from closedloop.windows.tables.read_ahead import read_ahead

if TYPE_CHECKING:
    # Imported where rows are read: the service only writes.
    import pandas as pd
    from numpy.typing import NDArray

    from closedloop.records.archive.folder import Archive
    from closedloop.records.stored_columns import Column

    Rows = tuple[int, dict[str, Column]]

Part = TypeVar("Part")


@dataclass(frozen=True)
class RecordCounts:
    """Answered rows of a use case, and how many of them have a label."""

    predictions: int
    labels: int


@dataclass(frozen=True)
class Window:
    """A period of a use case's records, and where each part of it is read from."""

    connection: Connection
    use_case: UseCase
    archive: Archive | None
    spans: list[Span]


def open_window(
    connection: Connection,
    use_case: UseCase,
    since: datetime | None,
    until: datetime | None,
    archive: Archive | None,
) -> Window:
    """The records with since <= time < until, of which the archive may hold days."""
    spans = split_window(connection, archive, use_case, since, until)
    return Window(connection, use_case, archive, spans)


def read_rows(window: Window) -> pd.DataFrame:
    """What `Records.read` promises."""
    from closedloop.records.stored_columns import join_columns, to_frame

    parts = list(_read_columns(window))
    rows = sum(number for number, _ in parts)
    frame = {}
    for name in name_columns(window.use_case):
        # One column at a time, each part given up: more than that need not fit into memory.
        column = join_columns([(number, columns.pop(name)) for number, columns in parts])
        frame[name] = column.values(rows)
    return to_frame(frame)


def read_chunks(window: Window) -> Iterator[pd.DataFrame]:
    """What `Records.read_chunks` promises, every row of it."""
    from closedloop.records.stored_columns import to_frame

    found, numeric = False, window.use_case.numeric
    for rows, columns in _read_columns(window):
        found = True
        yield to_frame(
            {
                name: column.values(rows, null_is_number=name in numeric)
                for name, column in columns.items()
            }
        )
    if not found:
        yield read_rows(window)


def read_keys(window: Window) -> Iterator[NDArray[Any]]:
    """The keys of the same rows, some at a time."""
    key = window.use_case.key
    assert key is not None
    for _, columns in _read_columns(window, keys_only=True):
        keys = columns[key].others
        assert keys is not None
        yield keys


def name_columns(use_case: UseCase) -> list[str]:
    """The columns of recorded rows, in order."""
    key = [] if use_case.key is None else [use_case.key]
    return [*key, *use_case.columns, use_case.target.column]


def _read_columns(window: Window, *, keys_only: bool = False) -> Iterator[Rows]:
    """The number of rows and the columns of each page, without what was erased.

    Where a file fails, the database gives the rest of the window.
    """
    spans, place, done = window.spans, 0, 0
    while place < len(spans):
        span = spans[place]
        try:
            for rows, columns in _drop(done, _read_span(window, span, keys_only)):
                yield rows, columns
                done += rows
        except ArchiveError as error:
            warn(error)
            spans[place:] = [Span(span.since, spans[-1].until)]
        else:
            place, done = place + 1, 0


def _read_span(window: Window, span: Span, keys_only: bool) -> Iterator[Rows]:
    if span.day is None:
        return _read_database(window, span, keys_only)
    from closedloop.records.archive.day_file import read_day

    assert window.archive is not None
    rows = read_day(window.connection, window.archive, window.use_case, span, keys_only=keys_only)
    return _read_ahead(window, rows)


def _read_ahead(window: Window, parts: Iterator[Part]) -> Iterator[Part]:
    # SQLite in memory belongs to the thread that opened it.
    return read_ahead(parts) if window.connection.engine.url.database else parts


def _drop(rows: int, parts: Iterator[Rows]) -> Iterator[Rows]:
    """The parts without so many first rows."""
    for number, columns in parts:
        if rows and number <= rows:
            rows -= number
        elif rows:
            yield (
                number - rows,
                {name: column.take(slice(rows, None)) for name, column in columns.items()},
            )
            rows = 0
        else:
            yield number, columns


def _read_database(window: Window, span: Span, keys_only: bool) -> Iterator[Rows]:
    from closedloop.records import page_rows
    from closedloop.records.stored_columns import Column, decode_columns

    connection, use_case = window.connection, window.use_case
    types = {name: column.type for name, column in use_case.columns.items()}
    pages = read_pages(connection, use_case.name, span.since, span.until, features=not keys_only)
    for page in _read_ahead(window, pages):
        columns = {}
        if use_case.key is not None:
            columns[use_case.key] = Column(others=page_rows.decode_keys(page))
        if not keys_only:
            columns |= decode_columns(page, types)
            ids = page_rows.name_rows(page)
            columns[use_case.target.column] = page_rows.place_labels(page.labels, ids)
        kept = page_rows.find_kept(page)
        if not kept.all():
            columns = {name: column.take(kept) for name, column in columns.items()}
        yield int(kept.sum()), columns


def read_periods(
    connection: Connection, use_case: str, every: Every, until: datetime, zone: tzinfo
) -> Iterator[datetime]:
    """What `Records.read_periods` promises."""
    # One index lookup per period, however many requests it holds.
    earliest = select(func.min(ANSWERS.c.at)).where(
        ANSWERS.c.use_case == use_case, ANSWERS.c.at < until
    )
    found = connection.execute(earliest).scalar_one()
    while found is not None:
        start = start_of(found, every, zone)
        yield start
        later = earliest.where(ANSWERS.c.at >= end_of(start, every, zone))
        found = connection.execute(later).scalar_one()


def read_newest_columns(
    connection: Connection, use_case: str
) -> tuple[datetime, frozenset[str]] | None:
    """When the newest request was answered, and the features on record of it; None without one."""
    query = select(ANSWERS.c.at, ANSWERS.c.features).where(ANSWERS.c.use_case == use_case)
    query = query.order_by(ANSWERS.c.at.desc(), ANSWERS.c.request.desc()).limit(1)
    found = connection.execute(query).first()
    return None if found is None else (found.at, frozenset(from_json(found.features)))


def count_rows_and_labels(connection: Connection, use_case: str) -> RecordCounts:
    """How many predictions and labels a use case has."""
    of_use_case = ANSWERS.c.use_case == use_case
    answered = select(func.coalesce(func.sum(ANSWERS.c.rows), 0)).where(of_use_case)
    erased = select(ANSWERS.c.forgotten).where(of_use_case, ANSWERS.c.forgotten.is_not(None))
    labelled = select(func.count()).select_from(
        LABELS.join(ANSWERS, LABELS.c.request == ANSWERS.c.request)
    )
    gone = sum(len(read_forgotten(written)) for written in connection.execute(erased).scalars())
    return RecordCounts(
        int(connection.execute(answered).scalar_one()) - gone,
        int(connection.execute(labelled.where(of_use_case)).scalar_one()),
    )
