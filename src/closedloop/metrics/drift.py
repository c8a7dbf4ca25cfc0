"""Two frames -> DriftReport; each column's limit is calibrated here. Evidently draws the page.

Distances, which are Evidently's: Wasserstein over the reference's standard deviation for numeric
columns, Jensen-Shannon (base e) for categorical ones. `drift_limits` says where the limits come
from, `drift_comparisons` what is compared when values are null, constant or missing. Distances are
those of all rows; limits are drawn with `sample_rows` a side, which is what takes time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.drift_report import ColumnDrift, DriftReport
from closedloop.metrics.drift_comparisons import (
    WASSERSTEIN,
    ColumnComparison,
    Draws,
    compare_column,
)
from closedloop.metrics.drift_limits import LARGEST_JENSENSHANNON, calibrate_limit
from closedloop.metrics.evidently_report import draw_page


def measure_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    policy: DriftPolicy,
    reference_name: str,
    current_name: str,
    seed: int,
    ignore_nulls: frozenset[str] = frozenset(),
    max_drift_share: float = 0.5,
    limits_from_both: bool = False,
) -> tuple[DriftReport, Callable[[], str | None]]:
    """Compare the current window with the reference; columns as in `numeric`, then `categorical`.

    Limits are drawn from the reference, or with `limits_from_both` from the rows of both sides: a
    reference of one window needs that. `ignore_nulls` names columns whose nulls mean nothing: such
    rows are left out of the column. A column that cannot be measured has score None and a note; no
    column stops the others. The second value draws Evidently's page about the values of the columns
    (about 5 MB, in about as many seconds; None when there is nothing to draw); `max_drift_share`
    only sets the limit in its headline.
    """
    sides = (reference, current)
    comparisons: list[ColumnComparison] = []
    for column in (*numeric, *categorical):
        # A generator for each column, so that a column's limit depends on no other column.
        rng = np.random.default_rng([seed, zlib.crc32(column.encode())])
        draws = Draws(policy.resamples, policy.sample_rows, rng, limits_from_both)
        comparisons += compare_column(
            column, sides, column in numeric, column not in ignore_nulls, draws
        )
    asked = sum(1 for comparison in comparisons if comparison.noise.size)
    rate = policy.false_alarm_rate / max(asked, 1)
    measured = [_with_limit(comparison, rate, policy.min_distance) for comparison in comparisons]
    columns = tuple(
        _worst([comparison for comparison in measured if comparison.column == column])
        for column in (*numeric, *categorical)
    )
    report = DriftReport(reference_name, current_name, len(reference), len(current), columns)
    return report, partial(draw_page, measured, sides, max_drift_share)


def _with_limit(
    comparison: ColumnComparison, false_alarm_rate: float, min_distance: float
) -> ColumnComparison:
    """With its calibrated limit; without noise but with a note when no distance can reach it."""
    if not comparison.noise.size:
        return comparison
    limit = calibrate_limit(comparison.noise, false_alarm_rate, min_distance)
    if comparison.method != WASSERSTEIN and limit >= LARGEST_JENSENSHANNON:
        note = "too many categories for so few rows: noise alone can reach the largest distance"
        notes = "; ".join(filter(None, [comparison.note, note]))
        return replace(comparison, noise=np.empty(0), score=None, note=notes)
    return replace(comparison, limit=limit)


def _worst(comparisons: Sequence[ColumnComparison]) -> ColumnDrift:
    """The comparison nearest to its limit, or furthest beyond it, stands for the column."""
    measured = [
        comparison
        for comparison in comparisons
        if comparison.score is not None and comparison.limit is not None
    ]
    if not measured:
        last = comparisons[-1]
        return ColumnDrift(last.column, last.method, None, None, last.note)
    worst = max(
        measured, key=lambda comparison: (comparison.score or 0.0) / (comparison.limit or 1.0)
    )
    notes = dict.fromkeys(
        comparison.note
        for comparison in comparisons
        if comparison.note and (comparison is worst or comparison.score is None)
    )
    return ColumnDrift(worst.column, worst.method, worst.score, worst.limit, "; ".join(notes))
