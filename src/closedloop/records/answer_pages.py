"""Answered requests in time order, some at a time, and the labels of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, case, select

from closedloop.records.label_rows import among, listed
from closedloop.records.tables import ANSWERS, LABELS

PAGE_ROWS = 50_000
# What is fetched at once: so many requests, without the features of those with more rows than this.
# However many rows requests have, no more than a page of features is then in memory.
_FETCHED, _MOST_ROWS = 500, 100
_FACTS = ("request", "rows", "row_keys", "forgotten")


@dataclass(frozen=True)
class AnswerPage:
    """Requests with what is written of them; the rest where somebody asked.

    `rows` has the number of each request's rows, shape (requests,); `labels` are the ids of
    predictions, and the label of each.
    """

    requests: Sequence[str]
    rows: NDArray[np.int64]
    row_keys: Sequence[str | None]
    forgotten: Sequence[str | None]
    features: Sequence[str] = ()
    labels: tuple[Sequence[str], Sequence[str]] = ((), ())
    times: Sequence[datetime] = ()
    versions: Sequence[int] = ()
    probabilities: Sequence[str] = ()


def read_pages(
    connection: Connection,
    use_case: str,
    since: datetime | None,
    until: datetime | None,
    *,
    features: bool = True,
) -> Iterator[AnswerPage]:
    """Pages of at most `PAGE_ROWS` rows, or of one larger request, oldest first.

    With `features`, their labels come, too.
    """
    large = (ANSWERS.c.features,) if features else ()
    for page, written in _read_pages(connection, use_case, since, until, (), large):
        if features:
            page = replace(page, features=written[0], labels=read_labels(connection, page.requests))
        yield page


def read_answers(
    connection: Connection, use_case: str, since: datetime, until: datetime
) -> Iterator[AnswerPage]:
    """The same pages with all that was answered, and without labels."""
    few, large = ("at", "version"), (ANSWERS.c.features, ANSWERS.c.probabilities)
    for page, written in _read_pages(connection, use_case, since, until, few, large):
        times, versions, features, probabilities = written
        yield replace(
            page, times=times, versions=versions, features=features, probabilities=probabilities
        )


def _read_pages(
    connection: Connection,
    use_case: str,
    since: datetime | None,
    until: datetime | None,
    few: Sequence[str],
    large: Sequence[ColumnElement[Any]],
) -> Iterator[tuple[AnswerPage, list[list[Any]]]]:
    """Pages, and what is written in these columns of their requests."""
    columns: list[ColumnElement[Any]] = [ANSWERS.c[name] for name in (*_FACTS, *few)]
    columns += [case((ANSWERS.c.rows <= _MOST_ROWS, column)) for column in large]
    query = select(*columns).where(ANSWERS.c.use_case == use_case)
    if since is not None:
        query = query.where(ANSWERS.c.at >= since)
    if until is not None:
        query = query.where(ANSWERS.c.at < until)
    found = _fetch(connection, query.order_by(ANSWERS.c.at, ANSWERS.c.request))
    for requests, rows, row_keys, forgotten, *written in _cut(found):
        for place, column in enumerate(large, start=len(few)):
            written[place] = _add_large(connection, requests, written[place], column)
        yield AnswerPage(requests, np.array(rows), row_keys, forgotten), written


def read_labels(
    connection: Connection, requests: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    """The ids and the labels of predictions of these requests, as far as there are any."""
    query = select(LABELS.c.prediction_id, LABELS.c.label)
    found = _fetch(connection, query.where(LABELS.c.request.in_(listed(connection, requests))))
    ids: list[str] = []
    labels: list[str] = []
    for part in found:
        more_ids, more_labels = zip(*part, strict=True)
        ids += more_ids
        labels += more_labels
    return ids, labels


def _fetch(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Any]]:
    # A server would otherwise send the whole answer before the first row is read.
    is_server = connection.dialect.name == "postgresql"
    found = connection.execute(query.execution_options(stream_results=is_server))
    return found.partitions(_FETCHED)


def _cut(parts: Iterator[Sequence[Any]]) -> Iterator[list[list[Any]]]:
    """The answers by column, as many at a time as go into a page.

    No object is kept for an answer: Python's collector would look through all of them, again and
    again.
    """
    waiting: list[list[Any]] = []
    number = 0
    for part in parts:
        columns = list(map(list, zip(*part, strict=True)))
        rows = columns[1]
        first = 0
        while first < len(rows):
            ends = number + np.cumsum(rows[first:])
            fitting = int(np.searchsorted(ends, PAGE_ROWS, side="right"))
            if not fitting and waiting:
                yield waiting
                waiting, number = [], 0
                continue
            fitting = max(fitting, 1)
            taken = [column[first : first + fitting] for column in columns]
            if waiting:
                for column, more in zip(waiting, taken, strict=True):
                    column += more
            else:
                waiting = taken
            number, first = int(ends[fitting - 1]), first + fitting
    if waiting:
        yield waiting


def _add_large(
    connection: Connection,
    requests: Sequence[str],
    written: list[Any],
    column: ColumnElement[Any],
) -> list[Any]:
    """What is written in the column of all requests, with that of the large ones."""
    large = [name for name, some in zip(requests, written, strict=True) if some is None]
    if not large:
        return written
    query = select(ANSWERS.c.request, column)
    parts = _fetch(connection, query.where(among(connection, large)))
    known = {name: some for part in parts for name, some in part}
    return [
        known[name] if some is None else some for name, some in zip(requests, written, strict=True)
    ]
