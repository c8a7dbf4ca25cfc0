"""Reads recorded rows with their labels, as they were sent; rows that were erased are left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from closedloop.records.request import from_json, name_prediction, read_column, read_forgotten
from closedloop.records.tables import ANSWERS, LABELS
from closedloop.use_case.contract import UseCase

if TYPE_CHECKING:
    import pandas as pd  # imported where rows are read: the service only writes


def read_rows(
    connection: Connection, use_case: UseCase, since: datetime | None, until: datetime | None
) -> pd.DataFrame:
    """What `Records.read` promises."""
    conditions = [ANSWERS.c.use_case == use_case.name]
    if since is not None:
        conditions.append(ANSWERS.c.at >= since)
    if until is not None:
        conditions.append(ANSWERS.c.at < until)
    written = (ANSWERS.c.features, ANSWERS.c.row_keys, ANSWERS.c.forgotten)
    answers = select(ANSWERS.c.request, ANSWERS.c.rows, *written).where(*conditions)
    labels = (
        select(LABELS.c.prediction_id, LABELS.c.label)
        .join(ANSWERS, LABELS.c.request == ANSWERS.c.request)
        .where(*conditions)
    )
    names = [
        *([] if use_case.key is None else [use_case.key]),
        *use_case.columns,
        use_case.target.column,
    ]
    frame: dict[str, list[Any]] = {name: [] for name in names}
    columns = [(name, frame[name].extend) for name in use_case.columns]
    # A server would otherwise send the whole answer before the first row is read.
    connection = connection.execution_options(stream_results=True)
    known = {row.prediction_id: row.label for row in connection.execute(labels)}
    for request, rows, features, row_keys, erased in connection.execute(
        answers.order_by(ANSWERS.c.at, ANSWERS.c.request)
    ):
        gone = read_forgotten(erased)
        ids = _left([name_prediction(request, row) for row in range(rows)], gone)
        if use_case.key is not None:
            keys = _left(read_column(from_json(row_keys or "null"), rows), gone)
            frame[use_case.key] += [
                id if key is None else key for id, key in zip(ids, keys, strict=True)
            ]
        sent = from_json(features)
        for name, extend in columns:
            extend(_left(read_column(sent.get(name), rows), gone))
        frame[use_case.target.column] += [known.get(id) for id in ids]
    import pandas as pd

    return pd.DataFrame({name: _raw_column(values) for name, values in frame.items()})


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


def _left(values: list[Any], gone: frozenset[int]) -> Sequence[Any]:
    if not gone:
        return values
    return [value for row, value in enumerate(values) if row not in gone]


def _raw_column(values: list[Any]) -> pd.Series[Any]:
    """Numbers as float, anything else unchanged, with None for null."""
    import pandas as pd

    if any(value is not None for value in values) and all(
        value is None or isinstance(value, float) for value in values
    ):
        return pd.Series(values, dtype=float)
    return pd.Series(values, dtype=object)
