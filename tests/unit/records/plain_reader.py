"""Recorded rows read the simple way, value by value: what the reader of windows must give."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sqlalchemy import Engine, select

from closedloop.records.request import from_json, name_prediction, read_column, read_forgotten
from closedloop.records.tables import ANSWERS, LABELS
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import NOTES
from closedloop.windows.spelling import spell


def read_plainly(engine: Engine, use_case: UseCase) -> pd.DataFrame:
    """Every row of a use case, oldest first."""
    query = select(ANSWERS).where(ANSWERS.c.use_case == use_case.name)
    with engine.connect() as connection:
        answers = connection.execute(query.order_by(ANSWERS.c.at, ANSWERS.c.request)).all()
        labels = connection.execute(select(LABELS)).all()
    known = {label.prediction_id: label.label for label in labels}
    assert use_case.key is not None
    names = [use_case.key, *use_case.columns, use_case.target.column]
    frame: dict[str, list[Any]] = {name: [] for name in names}
    for answer in answers:
        sent, gone = from_json(answer.features), read_forgotten(answer.forgotten)
        keys = read_column(from_json(answer.row_keys or "null"), answer.rows)
        columns = {name: read_column(sent.get(name), answer.rows) for name in use_case.columns}
        for row in range(answer.rows):
            if row not in gone:
                id = name_prediction(answer.request, row)
                frame[use_case.key].append(id if keys[row] is None else keys[row])
                for name, values in columns.items():
                    frame[name].append(values[row])
                frame[use_case.target.column].append(known.get(id))
    return pd.DataFrame({name: _raw_column(values) for name, values in frame.items()})


def keep_newest_plainly(frame: pd.DataFrame, use_case: UseCase) -> pd.DataFrame:
    """The newest row of every key, which takes the newest label of its key if it has none."""
    assert use_case.key is not None
    target, keys = use_case.target.column, frame[use_case.key].map(spell)
    replaced = keys.duplicated(keep="last")
    if not replaced.any():
        return frame
    known = dict(zip(keys, frame[target], strict=True)) | {
        key: label for key, label in zip(keys, frame[target], strict=True) if label is not None
    }
    labels = pd.Series([known[key] for key in keys], dtype=object, index=frame.index)
    kept = frame.assign(**{target: labels})[~replaced].reset_index(drop=True)
    kept.attrs[NOTES] = (int(replaced.sum()),)
    return kept


def _raw_column(values: list[Any]) -> pd.Series[Any]:
    """Numbers as float, anything else unchanged, with None for null."""
    some = any(value is not None for value in values)
    if some and all(value is None or isinstance(value, float) for value in values):
        return pd.Series(values, dtype=float)
    return pd.Series(values, dtype=object)
