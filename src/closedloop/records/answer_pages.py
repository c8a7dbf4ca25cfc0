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


@dataclass(frozen=True)
class AnswerPage:
    """Requests with what is written of them; `features` and `labels` where somebody asked.

    `rows` has the number of each request's rows, shape (requests,); `labels` are the ids of
    predictions, and the label of each.
    """

    requests: Sequence[str]
    rows: NDArray[np.int64]
    row_keys: Sequence[str | None]
    forgotten: Sequence[str | None]
    features: Sequence[str] = ()
    labels: tuple[Sequence[str], Sequence[str]] = ((), ())


def read_pages(
    connection: Connection,
    use_case: str,
    since: datetime | None,
    until: datetime | None,
    *,
    features: bool = True,
) -> Iterator[AnswerPage]:
    """Pages of at most `PAGE_ROWS` rows, or of one larger request, oldest first."""
    names = ("request", "rows", "row_keys", "forgotten")
    columns: list[ColumnElement[Any]] = [ANSWERS.c[name] for name in names]
    if features:
        columns.append(case((ANSWERS.c.rows <= _MOST_ROWS, ANSWERS.c.features)))
    query = select(*columns).where(ANSWERS.c.use_case == use_case)
    if since is not None:
        query = query.where(ANSWERS.c.at >= since)
    if until is not None:
        query = query.where(ANSWERS.c.at < until)
    found = _fetch(connection, query.order_by(ANSWERS.c.at, ANSWERS.c.request))
    for requests, rows, row_keys, forgotten, *written in _cut(found):
        page = AnswerPage(requests, np.array(rows), row_keys, forgotten)
        if features:
            sent = _add_large(connection, requests, written[0])
            page = replace(page, features=sent, labels=read_labels(connection, requests))
        yield page


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
    connection: Connection, requests: Sequence[str], features: Sequence[str | None]
) -> Sequence[Any]:
    """The features of all requests, with those of the large ones."""
    large = [name for name, some in zip(requests, features, strict=True) if some is None]
    if not large:
        return features
    query = select(ANSWERS.c.request, ANSWERS.c.features)
    parts = _fetch(connection, query.where(among(connection, large)))
    known = {name: some for part in parts for name, some in part}
    return [
        known[name] if some is None else some for name, some in zip(requests, features, strict=True)
    ]
