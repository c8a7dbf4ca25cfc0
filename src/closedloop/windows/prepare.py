"""A raw window becomes columns of known types: the only way in.

Training, monitoring and serving all see a row through `prepare`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.use_case.contract import MISSING, UseCase
from closedloop.windows.spelling import (
    find_spellings,
    read_category,
    read_label,
    spell,
)
from closedloop.windows.written_numbers import read_number


def prepare(frame: pd.DataFrame, use_case: UseCase) -> pd.DataFrame:
    """Raw rows -> the features in the order of loop.toml, then key, group and target, if there.

    Numeric columns become float64, with NaN for null and for anything that is no finite number.
    Categorical columns become str in object columns: stripped, spelled as in `allowed`, MISSING for
    null. Key and group become str, the target one of the classes or None. A feature that the frame
    lacks is all null; `check_contract` reports it.
    """
    columns: dict[str, Any] = {}
    for name, column in use_case.columns.items():
        if name not in frame.columns:
            columns[name] = (
                np.full(len(frame), np.nan)
                if column.type == "numeric"
                else _constant(MISSING, len(frame))
            )
        elif column.type == "numeric":
            columns[name] = read_numbers(select_column(frame, name))
        else:
            columns[name] = read_categories(select_column(frame, name), column.allowed)
    if use_case.key is not None and use_case.key in frame.columns:
        columns[use_case.key] = convert_values(select_column(frame, use_case.key), spell)
    group = use_case.group
    if group is not None and group in frame.columns and group not in columns:
        columns[group] = read_categories(select_column(frame, group))
    if use_case.target.column in frame.columns:
        columns[use_case.target.column] = convert_values(
            select_column(frame, use_case.target.column),
            partial(read_label, known=find_spellings(use_case.target.classes)),
        )
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=None if values.dtype != object else object)
            for name, values in columns.items()
        }
    )


def select_column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """One column; the first one when several have that name."""
    found = frame[name]
    return found.iloc[:, 0] if isinstance(found, pd.DataFrame) else found


def _constant(value: str, rows: int) -> NDArray[Any]:
    out = np.empty(rows, dtype=object)
    out[:] = value
    return out


def convert_values(series: pd.Series[Any], convert: Callable[[Any], Any]) -> NDArray[Any]:
    """`convert` of every value, called once per distinct value where hashing tells them apart."""
    if isinstance(series.dtype, pd.StringDtype):
        codes, distinct = pd.factorize(series, use_na_sentinel=True)
    else:
        values = series.astype(object)
        if pd.api.types.infer_dtype(values, skipna=True) in ("mixed", "mixed-integer"):
            # True, 1 and 1.0 hash alike, and lists do not hash at all.
            return _objects([convert(value) for value in values])
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
    # The last one is that of code -1, which is null.
    return _objects([*map(convert, distinct.tolist()), convert(None)])[codes]


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def read_numbers(series: pd.Series[Any]) -> NDArray[np.float64]:
    """Values as float64, shape (n,); NaN for null and for anything that is no finite number."""
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_complex_dtype(series):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    else:
        numbers = convert_values(series, read_number).astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def read_categories(series: pd.Series[Any], allowed: tuple[str, ...] = ()) -> NDArray[Any]:
    """Values as str, shape (n,): one spelling per category, as in `allowed`; MISSING for null."""
    return convert_values(series, read_category(allowed))


def digest(prepared: pd.DataFrame, use_case: UseCase) -> str:
    """sha256 over every cell of features, key, target and group, in row order.

    It sees every change.
    """
    content = hashlib.sha256()
    names = (*use_case.columns, use_case.key, use_case.target.column, use_case.group)
    for name in dict.fromkeys(names):
        if name is None or name not in prepared.columns:
            continue
        content.update(f"\n{name}\n{len(prepared)}\n".encode())
        if name in use_case.columns and use_case.columns[name].type == "numeric":
            values = prepared[name].to_numpy(dtype="<f8")
            # All NaNs and both zeros count as equal.
            equal = np.where(np.isnan(values), np.nan, values + 0.0)
            content.update(equal.astype("<f8").tobytes())
        else:
            codes, distinct = pd.factorize(prepared[name], use_na_sentinel=True)
            content.update(json.dumps([str(value) for value in distinct]).encode())
            content.update(codes.astype("<i8").tobytes())
    return content.hexdigest()
