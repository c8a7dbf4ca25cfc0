"""The data contract: a raw window becomes columns of known types, and a broken window is told from
a drifted one.

`prepare` is the only way in: training, monitoring and serving all see a row through it.
`check_contract` compares what came with what [columns] in loop.toml promises.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.evidence import Violation
from closedloop.use_case.contract import MISSING as MISSING
from closedloop.use_case.contract import Column, UseCase
from closedloop.windows.spelling import (
    find_spellings,
    read_category,
    read_label,
    read_number,
    says_nothing,
    spell,
)

_MAX_UNKNOWN_LABELS = 0.01
_ANOTHER_UNIT = 5.0  # times the largest value of training, or that part of the smallest; a moving population seldom gets there at once
_MAX_SHARES = 100


def prepare(frame: pd.DataFrame, use_case: UseCase) -> pd.DataFrame:
    """Raw rows -> the feature columns in the order of loop.toml, then the key and the target where
    the frame has them.

    Numeric columns become float64 with NaN for null and for what is no finite number. Categorical
    ones become str in object columns: stripped, spelled as in `allowed`, MISSING for null. The key
    becomes str, the target one of the classes or None. A feature that the frame lacks is all null;
    `check_contract` names it.
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
            columns[name] = read_numbers(_series(frame, name))
        else:
            columns[name] = read_categories(_series(frame, name), column.allowed)
    if use_case.key is not None and use_case.key in frame.columns:
        columns[use_case.key] = _texts(_series(frame, use_case.key), spell)
    if use_case.target.column in frame.columns:
        columns[use_case.target.column] = _texts(
            _series(frame, use_case.target.column),
            partial(read_label, known=find_spellings(use_case.target.classes)),
        )
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=None if values.dtype != object else object)
            for name, values in columns.items()
        }
    )


def _series(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """One column; the first of them when the frame has several of that name."""
    found = frame[name]
    return found.iloc[:, 0] if isinstance(found, pd.DataFrame) else found


def _constant(value: str, rows: int) -> NDArray[Any]:
    out = np.empty(rows, dtype=object)
    out[:] = value
    return out


def _each(series: pd.Series[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """`convert` of every value, called once per distinct value where values can be told apart by
    hashing."""
    values = series.astype(object)
    if pd.api.types.infer_dtype(values, skipna=True) in ("mixed", "mixed-integer"):
        # True, 1 and 1.0 hash alike, and lists do not hash at all.
        return [convert(value) for value in values]
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    converted = [convert(value) for value in distinct]
    converted.append(convert(None))  # code -1 is null
    return [converted[code] for code in codes.tolist()]


def read_numbers(series: pd.Series[Any]) -> NDArray[np.float64]:
    """Values as float64, shape (n,); NaN for null and for what is no finite number."""
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_complex_dtype(series):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    else:
        numbers = np.asarray(_each(series, read_number), dtype=np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def read_categories(series: pd.Series[Any], allowed: tuple[str, ...] = ()) -> NDArray[Any]:
    """Values as str, shape (n,), in one spelling each, that of `allowed` where it matches; MISSING
    for null."""
    return _texts(series, read_category(allowed))


def _texts(series: pd.Series[Any], convert: Callable[[Any], str | None]) -> NDArray[Any]:
    out = np.empty(len(series), dtype=object)
    out[:] = _each(series, convert)
    return out


def check_contract(
    raw: pd.DataFrame,
    prepared: pd.DataFrame,
    use_case: UseCase,
    statistics: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Violation, ...]:
    """Every way in which the window breaks the contract, at most one per column: the first of
    missing, type, null, range (or categories), unit. `statistics` are those of production's
    training rows (`measure_statistics`); None skips the unit rule.
    """
    if not len(raw):
        return (Violation("(window)", "empty", "at least one row", "no rows"),)
    found: list[Violation | None] = []
    for name, column in use_case.columns.items():
        if name not in raw.columns:
            found.append(Violation(name, "missing", "a column of this name", "none"))
        elif column.type == "numeric":
            found.append(
                _check_numeric(
                    name, column, _series(raw, name), prepared[name], (statistics or {}).get(name)
                )
            )
        else:
            found.append(_check_categorical(name, column, prepared[name]))
    found += [_check_key(raw, prepared, use_case.key), _check_labels(raw, prepared, use_case)]
    return tuple(violation for violation in found if violation is not None)


def _percent(share: float) -> str:
    """One decimal, more where one would say 0 or 100."""
    return f"{100 * share:.1f} %" if 0.001 <= share <= 0.999 else f"{100 * share:.6g} %"


def _check_numeric(
    name: str,
    column: Column,
    raw: pd.Series[Any],
    values: pd.Series[float],
    statistics: Mapping[str, Any] | None,
) -> Violation | None:
    numbers = values.to_numpy(dtype=np.float64)
    null = np.isnan(numbers)
    given = ~np.asarray(
        raw.isna() if pd.api.types.is_numeric_dtype(raw) else _each(raw, says_nothing), dtype=bool
    )
    unreadable = given & null
    if given.any() and unreadable.sum() / given.sum() > column.max_bad_rate:
        example = str(raw.to_numpy()[unreadable.argmax()])[:40]
        return Violation(
            name,
            "type",
            f"numbers in at least {_percent(1 - column.max_bad_rate)} of the values",
            f"{_percent(unreadable.sum() / given.sum())} that are none, such as {example!r}",
        )
    if null.mean() > column.max_null_rate:
        return Violation(
            name,
            "null",
            f"at most {_percent(column.max_null_rate)} null",
            f"{_percent(null.mean())} null",
        )
    present = numbers[~null]
    if not len(present):
        return None
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    outside = float(((present < low) | (present > high)).mean())
    median = float(np.median(present))
    if outside > column.max_bad_rate:
        return Violation(
            name,
            "range",
            _bounds(low, high),
            f"{_percent(outside)} of values outside, median {median:.6g}",
        )
    trained_low, trained_high = (
        _trained(statistics, "minimum", -math.inf),
        _trained(statistics, "maximum", math.inf),
    )
    # A column that was constant in training says nothing about its unit; neither does a little more
    # or less than was seen, which is drift.
    if trained_low < trained_high and math.isfinite(trained_low) and math.isfinite(trained_high):
        smallest, largest = sorted((abs(trained_low), abs(trained_high)))
        low = smallest / _ANOTHER_UNIT if trained_low * trained_high > 0 else 0.0
        if not low <= abs(median) <= largest * _ANOTHER_UNIT:
            wanted = f"a median within {_ANOTHER_UNIT:g} times what was seen in training, {_bounds(trained_low, trained_high)}"
            return Violation(name, "unit", wanted, f"median {median:.6g}")
    return None


def _trained(statistics: Mapping[str, Any] | None, key: str, unknown: float) -> float:
    value = (statistics or {}).get(key)
    return unknown if value is None else float(value)


def _bounds(low: float, high: float) -> str:
    if math.isinf(low):
        return f"at most {high:.6g}"
    return f"at least {low:.6g}" if math.isinf(high) else f"{low:.6g} to {high:.6g}"


def _check_categorical(name: str, column: Column, values: pd.Series[str]) -> Violation | None:
    missing = values == MISSING
    if missing.mean() > column.max_null_rate:
        return Violation(
            name,
            "null",
            f"at most {_percent(column.max_null_rate)} null",
            f"{_percent(missing.mean())} null",
        )
    present = values[~missing]
    if not column.allowed or not len(present):
        return None
    unknown = present[~present.isin(column.allowed)]
    share = len(unknown) / len(present)
    if share > column.max_bad_rate:
        return Violation(
            name,
            "categories",
            _listed(column.allowed),
            f"{_percent(share)} of values others, such as {_worst(unknown)}",
        )
    return None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _worst(unknown: pd.Series[str]) -> str:
    counts = unknown.value_counts()
    return ", ".join(
        f"{str(value)[:40]!r} ({count} rows)" for value, count in counts.head(3).items()
    )


def _check_key(raw: pd.DataFrame, prepared: pd.DataFrame, key: str | None) -> Violation | None:
    if key is None:
        return None
    if key not in raw.columns:
        return Violation(key, "missing", "a key column of this name", "none")
    repeated = prepared[key].duplicated(keep=False)
    if not repeated.any():
        return None
    return Violation(
        key,
        "unique",
        "every key once",
        f"{int(repeated.sum())} rows share a key, such as {prepared[key][repeated].iloc[0]!r}",
    )


def _check_labels(raw: pd.DataFrame, prepared: pd.DataFrame, use_case: UseCase) -> Violation | None:
    """No labels at all are no violation: they may still be under way."""
    name = use_case.target.column
    if name not in raw.columns:
        return None
    spelled = pd.Series(read_categories(_series(raw, name)), dtype=object)
    given = spelled != MISSING
    unknown = given & prepared[name].isna()
    if not given.any() or unknown.sum() / given.sum() <= _MAX_UNKNOWN_LABELS:
        return None
    return Violation(
        name,
        "labels",
        _listed(use_case.target.classes),
        f"{_percent(unknown.sum() / given.sum())} of labels others, such as {_worst(spelled[unknown])}",
    )


def measure_statistics(prepared: pd.DataFrame, use_case: UseCase) -> dict[str, dict[str, Any]]:
    """What each feature looked like, as plain JSON.

    Numeric: minimum, maximum, mean, std (of the population), median, null_rate; None where every
    value is null. Categorical: `shares` of all rows by category, the 100 commonest, and null_rate.
    """
    measures: dict[str, Callable[..., Any]] = {
        "minimum": np.min,
        "maximum": np.max,
        "mean": np.mean,
        "std": np.std,
        "median": np.median,
    }
    found: dict[str, dict[str, Any]] = {}
    for name in use_case.numeric:
        values = prepared[name].to_numpy(dtype=np.float64)
        present = values[~np.isnan(values)]
        found[name] = {
            key: _finite(measure(present)) if len(present) else None
            for key, measure in measures.items()
        }
        found[name]["null_rate"] = 1 - len(present) / len(values) if len(values) else None
    for name in use_case.categorical:
        shares = prepared[name].value_counts(normalize=True)
        null_rate = float(shares.get(MISSING, 0.0)) if len(prepared) else None
        kept = shares.drop(MISSING, errors="ignore").head(_MAX_SHARES)
        found[name] = {
            "shares": {str(category): float(share) for category, share in kept.items()},
            "null_rate": null_rate,
        }
    return found


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def digest(prepared: pd.DataFrame, use_case: UseCase) -> str:
    """sha256 over every cell of the features, the key and the target, in row order: any changed
    cell changes it."""
    content = hashlib.sha256()
    for name in (*use_case.columns, use_case.key, use_case.target.column):
        if name is None or name not in prepared.columns:
            continue
        content.update(f"\n{name}\n{len(prepared)}\n".encode())
        if name in use_case.columns and use_case.columns[name].type == "numeric":
            values = prepared[name].to_numpy(dtype="<f8")
            content.update(
                np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes()
            )  # one NaN, one zero
        else:
            codes, distinct = pd.factorize(prepared[name], use_na_sentinel=True)
            content.update(json.dumps([str(value) for value in distinct]).encode())
            content.update(codes.astype("<i8").tobytes())
    return content.hexdigest()
