"""One column of two windows -> the one or two distances that can be compared, with their noise.

Evidently drops nulls. Here the null shares of a numeric column are a comparison of their own, and
the nulls of a categorical column are a category.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from closedloop.metrics.drift_limits import (
    SMALLEST_SPREAD,
    Floats,
    compare_numbers,
    draw_jensenshannon_noise,
    draw_wasserstein_noise,
    measure_jensenshannon,
)
from closedloop.use_case.contract import MISSING

WASSERSTEIN, JENSENSHANNON = "wasserstein", "jensenshannon"  # Evidently's names
NULL_SHARE = "jensenshannon of the null share"
SAME_SHARE = "jensenshannon of the share of the constant"

_SIDES = ("the reference", "the current window")
_CONSTANT = 1e-9  # a spread this small relative to the values is rounding
# With more categories, limits would take longer than all else.
_MOST_CATEGORIES, _REST = 50_000, "(rest)"


@dataclass(frozen=True)
class ColumnComparison:
    """One distance of one column.

    `score` is the distance. `noise` holds distances without drift, shape (resamples,); it is empty
    when nothing can be compared, and `note` says why. `show` makes the values that were compared of
    those of the column, where Evidently's page can show them.
    """

    column: str
    method: str
    noise: Floats
    score: float | None = None
    show: Callable[[pd.Series[Any]], pd.Series[Any]] | None = None
    limit: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Draws:
    """How distances without drift are drawn: how many, with how many rows, and of which side.

    From the rows of the reference, or with `both` from those of both sides together.
    """

    resamples: int
    rows: int
    rng: np.random.Generator
    both: bool = False

    def draw_numbers(self, before: Floats, now: Floats) -> Floats:
        """Distances of numbers, shape (resamples,)."""
        values = np.concatenate([before, now]) if self.both else before
        sizes = len(before), len(now)
        return draw_wasserstein_noise(values, sizes, self.rows, self.resamples, self.rng)

    def draw_categories(self, before: pd.Series[Any], now: pd.Series[Any]) -> Floats:
        """Distances of categories, from the rows of each; shape (resamples,)."""
        counts = before.add(now, fill_value=0) if self.both else before
        sizes = int(before.sum()), int(now.sum())
        return draw_jensenshannon_noise(counts.to_numpy(), sizes, self.resamples, self.rng)


def compare_column(
    column: str,
    sides: tuple[pd.DataFrame, pd.DataFrame],
    is_numeric: bool,
    with_nulls: bool,
    draws: Draws,
) -> list[ColumnComparison]:
    """The comparisons of a column in (reference, current); one without noise when there is none."""
    for name, side in zip(_SIDES, sides, strict=True):
        if column not in side or side.empty:
            missing = "rows" if column in side else "such column"
            return [_unmeasured(column, f"no {missing} in {name}")]
    if is_numeric:
        reference, current = (_numbers(side[column]) for side in sides)
        return _compare_numbers(column, reference, current, with_nulls, draws)
    return [_compare_categories(column, sides, with_nulls, draws)]


def _unmeasured(column: str, note: str) -> ColumnComparison:
    return ColumnComparison(column, "none", np.empty(0), note=note)


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """As floats; whatever is not a finite number is null."""
    return pd.to_numeric(column, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)


def _show_numbers(column: pd.Series[Any], unit: float = 1.0) -> pd.Series[Any]:
    return _numbers(column) / unit


def _show_categories(column: pd.Series[Any], with_nulls: bool) -> pd.Series[Any]:
    """As text; a null is the category "(missing)", or stays null when nulls mean nothing."""
    text = column.astype(object).where(column.notna(), MISSING).map(str).astype(object)
    return text if with_nulls else text.where(text != MISSING, np.nan)


def _count_categories(column: pd.Series[Any], with_nulls: bool) -> pd.Series[Any]:
    """Rows of each category, as `_show_categories` spells it; the most frequent first."""
    counts = column.value_counts(dropna=False)
    counts.index = _show_categories(counts.index.to_series(), with_nulls)
    return counts.groupby(level=0, sort=False).sum()


def _fold(counts: pd.Series[Any], kept: pd.Index[Any]) -> pd.Series[Any]:
    """The rows of the categories that are kept, and of all others together."""
    is_kept = counts.index.isin(kept)
    others = pd.Series([counts[~is_kept].sum()], index=[_REST])
    folded: pd.Series[Any] = pd.concat([counts[is_kept], others[others > 0]])
    return folded.groupby(level=0, sort=False).sum()  # a category may be called so


def _compare_categories(
    column: str, sides: tuple[pd.DataFrame, pd.DataFrame], with_nulls: bool, draws: Draws
) -> ColumnComparison:
    counts = [_count_categories(side[column], with_nulls) for side in sides]
    empty = [name for name, side in zip(_SIDES, counts, strict=True) if not side.sum()]
    if empty:
        return _unmeasured(column, f"no values in {' and '.join(empty)}")
    most, note = max(map(len, counts)), ""
    if most > _MOST_CATEGORIES:
        note = f"{most:,} categories: the rarest count as one"
        # Of both sides: what only one of them decides on is frequent there by chance.
        kept = counts[0].add(counts[1], fill_value=0).nlargest(_MOST_CATEGORIES).index
        counts = [_fold(side, kept) for side in counts]
    before, now = (side.to_numpy() for side in counts[0].align(counts[1], fill_value=0))
    score = float(measure_jensenshannon(before / before.sum(), now / now.sum()))
    noise = draws.draw_categories(*counts)
    show = partial(_show_categories, with_nulls=with_nulls)
    return ColumnComparison(column, JENSENSHANNON, noise, score, show, note=note)


def _compare_numbers(
    column: str,
    reference: pd.Series[Any],
    current: pd.Series[Any],
    with_nulls: bool,
    draws: Draws,
) -> list[ColumnComparison]:
    before, now = reference.dropna().to_numpy(), current.dropna().to_numpy()
    found = []
    empty = [name for name, side in zip(_SIDES, (before, now), strict=True) if not len(side)]
    if len(empty) == 2 or (empty and not with_nulls):
        return [_unmeasured(column, f"no values in {' and '.join(empty)}")]
    if with_nulls and len(before) + len(now) < len(reference) + len(current):
        null_share = _compare_shares(column, NULL_SHARE, reference.isna(), current.isna(), draws)
        found.append(replace(null_share, note=f"no values in {empty[0]}" if empty else ""))
    if empty:
        return found
    low, high = float(before.min()), float(before.max())
    tolerance = _CONSTANT * max(abs(low), abs(high))
    if high - low <= tolerance:  # no spread to measure a distance in: is the value still the same?
        constant = np.ones(len(before), dtype=bool)
        unchanged = np.abs(now - low) <= 2 * tolerance
        same = _compare_shares(column, SAME_SHARE, constant, unchanged, draws)
        return [*found, replace(same, note=f"the reference is always {low:g}")]
    with np.errstate(over="ignore"):
        spread = float(np.std(before))
    if not np.isfinite(spread):
        return [*found, _unmeasured(column, "values too large for a standard deviation")]
    show, note = _show_numbers, ""
    if spread < SMALLEST_SPREAD:
        # The distance does not depend on the unit, but Evidently's smallest divisor does.
        before, now = before / spread, now / spread
        show, note = partial(_show_numbers, unit=spread), f"measured in units of {spread:g}"
    score = compare_numbers(before, now)
    if not np.isfinite(score):
        return [*found, _unmeasured(column, "values too large for a distance")]
    noise = draws.draw_numbers(before, now)
    return [*found, ColumnComparison(column, WASSERSTEIN, noise, score, show, note=note)]


def _compare_shares(
    column: str, method: str, before: Any, now: Any, draws: Draws
) -> ColumnComparison:
    """How far apart are the shares of rows for which a claim is true?"""
    shares = [np.array([side.mean(), 1 - side.mean()]) for side in (before, now)]
    counts = [pd.Series([side.sum(), len(side) - side.sum()]) for side in (before, now)]
    noise = draws.draw_categories(counts[0], counts[1])
    score = float(measure_jensenshannon(*shares))
    return ColumnComparison(column, method, noise, score)
