"""Checks a window against [columns] of loop.toml, to tell broken windows from drifted ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from closedloop.decisions.evidence import Violation
from closedloop.errors import SourceError, name_some
from closedloop.use_case.contract import MISSING, Column, UseCase
from closedloop.windows.prepare import convert_values, select_column
from closedloop.windows.spelling import says_nothing
from closedloop.windows.unknown_labels import count_unknown_labels, tell_how_to_add

# Up to this share, rows whose label is no class are left out and told.
MAX_UNKNOWN_LABELS = 0.01
# Times the largest value of training, or that part of the smallest: a change of unit jumps that
# far, a drifting population seldom does.
_ANOTHER_UNIT = 5.0
_MAX_SHARES = 100
_SHOWN = 10


def refuse_incomplete(names: Collection[str], use_case: UseCase, where: str) -> None:
    """Raise SourceError when rows with these columns lack one that a model needs."""
    if missing := [name for name in use_case.required if name not in names]:
        raise SourceError(
            where=where,
            wanted="every feature column of the model",
            got=f"no {', '.join(missing)}",
            then="add the columns to the table",
        )


def check_contract(
    raw: pd.DataFrame,
    prepared: pd.DataFrame,
    use_case: UseCase,
    statistics: Mapping[str, Mapping[str, Any]] | None = None,
    not_yet: Collection[str] = (),
) -> tuple[Violation, ...]:
    """Every way in which the window breaks the contract, at most one violation per column.

    The rules are checked in this order: missing, type, null, range (or categories), unit.
    `statistics` describe production's training rows (`measure_statistics`); None skips the unit
    rule. `not_yet` names columns that came after this window (`order.columns_not_yet`): they may be
    missing or null.
    """
    if not len(raw):
        return (Violation("(window)", "empty", "at least one row", "no rows"),)
    found: list[Violation | None] = []
    for name, column in use_case.columns.items():
        column = _excuse_nulls(name, column, prepared[name], not_yet)
        if name not in raw.columns:
            if not (column.optional or name in not_yet):
                found.append(Violation(name, "missing", "a column of this name", "none"))
        elif column.type == "numeric":
            found.append(
                _check_numeric(
                    name,
                    column,
                    select_column(raw, name),
                    prepared[name],
                    (statistics or {}).get(name),
                )
            )
        else:
            found.append(_check_categorical(name, column, prepared[name]))
    found += [
        _check_key(raw, prepared, use_case.key),
        _check_group(raw, use_case),
        _check_labels(raw, prepared, use_case),
    ]
    return tuple(violation for violation in found if violation is not None)


def _excuse_nulls(
    name: str, column: Column, values: pd.Series[Any], not_yet: Collection[str]
) -> Column:
    """Without a limit of nulls where the window may lack the column: a table of all windows holds
    it as null."""
    lacks = column.optional and bool((values.isna() | (values == MISSING)).all())
    return replace(column, max_null_rate=1.0) if lacks or name in not_yet else column


def _percent(share: float) -> str:
    """One decimal, or more where one decimal would read 0 or 100."""
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
        raw.isna() if pd.api.types.is_numeric_dtype(raw) else convert_values(raw, says_nothing),
        dtype=bool,
    )
    unreadable = given & null
    if given.any() and unreadable.sum() / given.sum() > column.max_bad_rate:
        example = str(raw.to_numpy()[unreadable.argmax()])[:40]
        return Violation(
            name,
            "type",
            f"numbers in at least {_percent(1 - column.max_bad_rate)} of the values",
            f"{_percent(unreadable.sum() / given.sum())} not numbers, such as {example!r}",
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
    return _check_unit(name, median, statistics or {})


def _check_unit(name: str, median: float, statistics: Mapping[str, Any]) -> Violation | None:
    trained_low, trained_high = statistics.get("minimum"), statistics.get("maximum")
    # A column that was constant in training says nothing about its unit. Values a little beyond
    # those of training are drift.
    if trained_low is None or trained_high is None or not trained_low < trained_high:
        return None
    smallest, largest = sorted((abs(trained_low), abs(trained_high)))
    low = smallest / _ANOTHER_UNIT if trained_low * trained_high > 0 else 0.0
    if low <= abs(median) <= largest * _ANOTHER_UNIT:
        return None
    seen = f"what was seen in training, {_bounds(trained_low, trained_high)}"
    wanted = f"a median within {_ANOTHER_UNIT:g} times {seen}"
    return Violation(name, "unit", wanted, f"median {median:.6g}")


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
            name_some(column.allowed, _SHOWN),
            f"{_percent(share)} other values, such as {_worst(unknown)}",
        )
    return None


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


def _check_group(raw: pd.DataFrame, use_case: UseCase) -> Violation | None:
    """A row without a value is a group of its own; a window without the column says nothing."""
    group = use_case.group
    if group is None or group in raw.columns or group in (use_case.key, *use_case.columns):
        return None
    return Violation(group, "missing", "a group column of this name", "none")


def _check_labels(raw: pd.DataFrame, prepared: pd.DataFrame, use_case: UseCase) -> Violation | None:
    """A window without any labels is no violation: they may still arrive."""
    unknown, target = count_unknown_labels(raw, prepared, use_case), use_case.target
    if unknown.share <= MAX_UNKNOWN_LABELS:
        return None
    return Violation(
        target.column,
        "labels",
        name_some(target.classes, _SHOWN),
        f"{_percent(unknown.share)} other labels, such as {unknown}: "
        f"{tell_how_to_add(unknown, target)}",
    )


def measure_statistics(prepared: pd.DataFrame, use_case: UseCase) -> dict[str, dict[str, Any]]:
    """What each feature looks like, as plain JSON.

    Numeric: minimum, maximum, mean, std (of the population), median and null_rate; None where every
    value is null. Categorical: `shares` of all rows for the 100 most frequent categories, and
    null_rate.
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
