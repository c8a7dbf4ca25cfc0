"""Copies a use case's answered requests and their labels to another database, in batches.

Requests are written as the API records them, so that the database fills in their keys; those that
are already there are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, inspect, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import LabelConflict
from closedloop.records.reading import RecordCounts
from closedloop.records.request import AnsweredRequest
from closedloop.records.store import Records
from closedloop.records.tables import ANSWERS, CORRECTIONS, LABELS, store_error
from closedloop.storage.engine import read_only

_PAGE = 500  # requests in one query; SQLite's older limit is 999 values
MOST_ROWS = 10_000  # in memory at once, unless one request has more
Group = list[tuple[str, int]]


def copy_records(
    source: Engine,
    target: Engine,
    use_case: str,
    report: Callable[[int, int], object],
    *,
    write: bool = True,
) -> RecordCounts:
    """Copy what `target` lacks; returns the number of rows and labels.

    Without `write` they are only counted, and no table is created. Raises StoreError when a
    database does not answer, LabelConflict when the target has another label for a prediction.
    """
    there = write or inspect(target).has_table(ANSWERS.name)
    with closing(Records(source)) as here, closing(Records(target)) as records:
        every, done = here.count(use_case).predictions, 0
        if write:
            records.count(use_case)  # creates the tables
        rows = labels = 0
        for group in _groups(source, use_case):
            missing = _missing(target, group) if there else group
            if write and missing:
                records.append(_read_requests(source, missing))
                _copy_forgotten(source, target, [request for request, _ in missing])
            rows += sum(number for _, number in missing)
            labels += _copy_labels(
                source, target, [request for request, _ in group], there=there, write=write
            )
            done += sum(number for _, number in group)
            report(done, every)
    return RecordCounts(rows, labels)


def _groups(source: Engine, use_case: str) -> Iterator[Group]:
    """All requests with their number of rows, in the order they were answered."""
    query = select(ANSWERS.c.request, ANSWERS.c.rows, ANSWERS.c.at).where(
        ANSWERS.c.use_case == use_case
    )
    query, last = query.order_by(ANSWERS.c.at, ANSWERS.c.request).limit(_PAGE), None
    while page := _ask(
        source, query if last is None else query.where(_after(last.at, last.request))
    ):
        group: Group = []
        for answer in page:
            if group and sum(number for _, number in group) + answer.rows > MOST_ROWS:
                yield group
                group = []
            group.append((answer.request, answer.rows))
        yield group
        last = page[-1]


def _after(at: datetime, request: str) -> Any:
    # Written like this, any database can use its index by time.
    return and_(ANSWERS.c.at >= at, or_(ANSWERS.c.at > at, ANSWERS.c.request > request))


def _missing(target: Engine, group: Group) -> Group:
    found = {
        row.request
        for row in _ask(
            target,
            select(ANSWERS.c.request).where(
                ANSWERS.c.request.in_([request for request, _ in group])
            ),
        )
    }
    return [(request, rows) for request, rows in group if request not in found]


def _read_requests(source: Engine, group: Group) -> list[AnsweredRequest]:
    rows = _ask(
        source,
        select(ANSWERS)
        .where(ANSWERS.c.request.in_([request for request, _ in group]))
        .order_by(ANSWERS.c.at),
    )
    return [
        AnsweredRequest(
            row.request,
            row.use_case,
            row.version,
            row.rows,
            row.features.encode(),
            row.probabilities.encode(),
            json.loads(row.row_keys) if row.row_keys else (),
            row.at,
        )
        for row in rows
    ]


def _copy_forgotten(source: Engine, target: Engine, requests: Sequence[str]) -> None:
    """Which rows of these requests were erased: their values came along as null."""
    query = select(ANSWERS.c.request, ANSWERS.c.forgotten).where(ANSWERS.c.request.in_(requests))
    found = _ask(source, query.where(ANSWERS.c.forgotten.is_not(None)))
    try:
        with target.begin() as connection:
            for row in found:
                this = update(ANSWERS).where(ANSWERS.c.request == row.request)
                connection.execute(this.values(forgotten=row.forgotten))
    except SQLAlchemyError as error:
        raise store_error("copy answers", error) from error


def _copy_labels(
    source: Engine, target: Engine, requests: Sequence[str], *, there: bool, write: bool
) -> int:
    query = select(LABELS).where(LABELS.c.request.in_(requests))
    wanted = {row.prediction_id: row for row in _ask(source, query)}
    known = (
        {row.prediction_id: row.label for row in _ask(target, query)} if wanted and there else {}
    )
    history = select(CORRECTIONS).where(CORRECTIONS.c.request.in_(requests))
    history = history.order_by(CORRECTIONS.c.prediction_id, CORRECTIONS.c.number)
    corrections = _ask(source, history) if wanted else []
    replaced = {(row.prediction_id, row.label) for row in corrections}
    other = [row for id, row in wanted.items() if known.get(id, row.label) != row.label]
    # Corrected after a part was copied.
    corrected = [row for row in other if (row.prediction_id, known[row.prediction_id]) in replaced]
    if conflicts := [row for row in other if row not in corrected]:
        id = conflicts[0].prediction_id
        raise LabelConflict(
            where=f"label of prediction {id}",
            wanted=f"{conflicts[0].label!r} as here",
            got=f"{known[id]!r} in the target",
            then="find out which one is right, and correct the other: POST /labels with replaces",
        )
    missing = [dict(row._mapping) for id, row in sorted(wanted.items()) if id not in known]
    if write and wanted:
        _write_labels(target, missing, corrected, corrections)
    return len(missing)


def _write_labels(
    target: Engine, missing: list[dict[str, Any]], corrected: list[Any], corrections: list[Any]
) -> None:
    dialect: Any = postgresql if target.dialect.name == "postgresql" else sqlite
    kept = [dict(row._mapping) for row in corrections]
    if not (missing or corrected or kept):
        return
    try:
        with target.begin() as connection:
            for table, rows in ((LABELS, missing), (CORRECTIONS, kept)):
                if rows:
                    connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)
            for row in corrected:
                this = LABELS.c.prediction_id == row.prediction_id
                connection.execute(update(LABELS).where(this).values(label=row.label, at=row.at))
    except SQLAlchemyError as error:
        raise store_error("copy labels", error) from error


def _ask(engine: Engine, query: Any) -> list[Any]:
    # A transaction per page: SQLite's log and PostgreSQL's tables grow while a long one is open.
    try:
        with read_only(engine).begin() as connection:
            return list(connection.execute(query))
    except SQLAlchemyError as error:
        raise store_error("copy answers", error) from error
