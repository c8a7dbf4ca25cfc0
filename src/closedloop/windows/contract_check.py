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
from closedloop.windows.contract_counts import ContractCounts, ValueCounts, hash_keys
from closedloop.windows.unknown_labels import tell_how_to_add

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
    """As `judge_contract`, of rows that are in memory."""
    counts = ContractCounts(use_case)
    counts.add(raw, prepared)
    return judge_contract(counts, prepared, statistics, not_yet)


def judge_contract(
    counts: ContractCounts,
    prepared: pd.DataFrame,
    statistics: Mapping[str, Mapping[str, Any]] | None = None,
    not_yet: Collection[str] = (),
) -> tuple[Violation, ...]:
    """Every way in which the window breaks the contract, at most one violation per column.

    `counts` are of all rows; `prepared` are these rows, or a sample of them, from which medians and
    examples are taken. The rules are checked in this order: missing, type, null, range (or
    categories), unit. `statistics` describe production's training rows (`measure_statistics`); None
    skips the unit rule. `not_yet` names columns that came after this window
    (`order.columns_not_yet`): they may be missing or null.
    """
    if not counts.rows:
        return (Violation("(window)", "empty", "at least one row", "no rows"),)
    use_case, rows = counts.use_case, counts.rows
    found: list[Violation | None] = []
    for name, column in use_case.columns.items():
        values = counts.features[name]
        # Without a limit of nulls where the window may lack the column: a table of all windows
        # holds it as null.
        if name in not_yet or (column.optional and values.nulls == rows):
            column = replace(column, max_null_rate=1.0)
        if name not in counts.names:
            if not (column.optional or name in not_yet):
                found.append(Violation(name, "missing", "a column of this name", "none"))
        elif column.type == "numeric":
            known = (statistics or {}).get(name)
            found.append(_check_numeric(name, column, values, rows, prepared[name], known))
        else:
            found.append(_check_categorical(name, column, values, rows))
    found += [
        _check_key(counts, prepared),
        _check_group(counts),
        _check_labels(counts),
    ]
    return tuple(violation for violation in found if violation is not None)


def _percent(share: float) -> str:
    """One decimal, or more where one decimal would read 0 or 100."""
    return f"{100 * share:.1f} %" if 0.001 <= share <= 0.999 else f"{100 * share:.6g} %"


def _check_numeric(
    name: str,
    column: Column,
    counts: ValueCounts,
    rows: int,
    values: pd.Series[float],
    statistics: Mapping[str, Any] | None,
) -> Violation | None:
    if counts.given and counts.unreadable / counts.given > column.max_bad_rate:
        return Violation(
            name,
            "type",
            f"numbers in at least {_percent(1 - column.max_bad_rate)} of the values",
            f"{_percent(counts.unreadable / counts.given)} not numbers, such as {counts.example!r}",
        )
    if (null := _check_nulls(name, column, counts, rows)) is not None:
        return null
    present = values.to_numpy(dtype=np.float64)
    present = present[~np.isnan(present)]
    if not len(present):
        return None
    median = float(np.median(present))
    outside = counts.outside / (rows - counts.nulls)
    if outside > column.max_bad_rate:
        low = -math.inf if column.minimum is None else column.minimum
        high = math.inf if column.maximum is None else column.maximum
        return Violation(
            name,
            "range",
            _bounds(low, high),
            f"{_percent(outside)} of values outside, median {median:.6g}",
        )
    return _check_unit(name, median, statistics or {})


def _check_nulls(name: str, column: Column, counts: ValueCounts, rows: int) -> Violation | None:
    if counts.nulls / rows <= column.max_null_rate:
        return None
    wanted = f"at most {_percent(column.max_null_rate)} null"
    return Violation(name, "null", wanted, f"{_percent(counts.nulls / rows)} null")


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


def _check_categorical(
    name: str, column: Column, counts: ValueCounts, rows: int
) -> Violation | None:
    if (null := _check_nulls(name, column, counts, rows)) is not None:
        return null
    if not column.allowed or counts.nulls == rows:
        return None
    share = (counts.unknown.total() + counts.more) / (rows - counts.nulls)
    if share <= column.max_bad_rate:
        return None
    worst = ", ".join(
        f"{value[:40]!r} ({often} rows)" for value, often in counts.unknown.most_common(3)
    )
    return Violation(
        name,
        "categories",
        name_some(column.allowed, _SHOWN),
        f"{_percent(share)} other values, such as {worst}",
    )


def _check_key(counts: ContractCounts, prepared: pd.DataFrame) -> Violation | None:
    key = counts.use_case.key
    if key is None:
        return None
    if key not in counts.names:
        return Violation(key, "missing", "a key column of this name", "none")
    repeated = counts.repeated_keys()
    if not len(repeated):
        return None
    examples = prepared[key][np.isin(hash_keys(prepared[key]), repeated)]
    such_as = f", such as {examples.iloc[0]!r}" if len(examples) else ""
    return Violation(key, "unique", "every key once", f"{len(repeated)} rows share a key{such_as}")


def _check_group(counts: ContractCounts) -> Violation | None:
    """A row without a value is a group of its own; a window without the column says nothing."""
    use_case = counts.use_case
    group = use_case.group
    if group is None or group in counts.names or group in (use_case.key, *use_case.columns):
        return None
    return Violation(group, "missing", "a group column of this name", "none")


def _check_labels(counts: ContractCounts) -> Violation | None:
    """A window without any labels is no violation: they may still arrive."""
    unknown, target = counts.labels, counts.use_case.target
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
