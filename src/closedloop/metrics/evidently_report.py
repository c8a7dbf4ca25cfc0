"""The only file that calls Evidently: its distances of columns, and its page about them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from closedloop.metrics.drift_comparisons import JENSENSHANNON, WASSERSTEIN, ColumnComparison

# The page needs its own scripts and nothing from anywhere; with this a browser asks for nothing.
_ONLY_ITSELF = (
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'\">"
)


def load_evidently() -> None:
    """Import Evidently now (7 to 9 seconds) rather than in the middle of the first turn."""
    import evidently.presets  # noqa: F401


def fill_in_scores(
    comparisons: Sequence[ColumnComparison], with_html: bool, max_drift_share: float
) -> tuple[list[ColumnComparison], str | None]:
    """Measure the comparisons that have noise and no score yet; with `with_html`, also the page.

    The page is None without `with_html`, or when nothing can be drawn. A column that Evidently
    cannot measure gets a note instead of a score.
    """
    pending = [
        comparison
        for comparison in comparisons
        if comparison.noise.size and comparison.score is None
    ]
    html: str | None = None
    scores: dict[str, float] = {}
    notes: dict[str, str] = {}
    # On the way to correlations that nobody reads, Evidently divides by the spread of constant
    # columns and warns each time.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if with_html and pending:
            try:
                scores, html = _draw(pending, max_drift_share)
            except Exception:  # one bad column can break the whole report: measure without it
                scores, notes = _measure_each(pending)
                html = _draw_the_drawable(pending, max_drift_share)
        elif pending:
            scores, notes = _measure_each(pending)
    filled = []
    for comparison in comparisons:
        if any(comparison is other for other in pending):
            score = scores.get(comparison.column, np.nan)
            if np.isfinite(score):
                comparison = replace(comparison, score=score)
            else:
                note = notes.get(comparison.column, "Evidently gave no finite distance")
                comparison = replace(comparison, score=None, note=note)
        filled.append(comparison)
    return filled, html


def _measure_each(
    pending: Sequence[ColumnComparison],
) -> tuple[dict[str, float], dict[str, str]]:
    """Scores, and notes on failures, by column.

    These are Evidently's own distances without its report, which takes fifty times as long.
    """
    from evidently.legacy.calculations.stattests import (
        jensenshannon_stat_test,
        wasserstein_stat_test,
    )
    from evidently.legacy.core import ColumnType

    scores: dict[str, float] = {}
    notes: dict[str, str] = {}
    for comparison in pending:
        test, kind = wasserstein_stat_test, ColumnType.Numerical
        if comparison.method == JENSENSHANNON:
            test, kind = jensenshannon_stat_test, ColumnType.Categorical
        reference, current = comparison.reference, comparison.current
        try:
            if reference is not None and current is not None:
                measured = test(reference.dropna(), current.dropna(), kind, comparison.limit)
                scores[comparison.column] = float(measured.drift_score)
        except Exception as error:  # whatever it is, the other columns must still be measured
            notes[comparison.column] = (
                f"Evidently could not measure it: {type(error).__name__}: {error}"
            )
    return scores, notes


def _draw(
    pending: Sequence[ColumnComparison], max_drift_share: float
) -> tuple[dict[str, float], str]:
    """Scores by column and the page, from one run of Evidently's report."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    shown = {comparison.column: _as_text(comparison.column) for comparison in pending}

    def named(method: str) -> list[str]:
        return [shown[comparison.column] for comparison in pending if comparison.method == method]

    definition = DataDefinition(
        numerical_columns=named(WASSERSTEIN), categorical_columns=named(JENSENSHANNON)
    )
    reference, current = (
        Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition)
        for columns in (
            {shown[comparison.column]: _as_texts(comparison.reference) for comparison in pending},
            {shown[comparison.column]: _as_texts(comparison.current) for comparison in pending},
        )
    )
    preset = DataDriftPreset(
        columns=list(shown.values()),
        drift_share=max_drift_share,
        per_column_method={shown[comparison.column]: comparison.method for comparison in pending},
        per_column_threshold={shown[comparison.column]: comparison.limit for comparison in pending},
    )
    snapshot = Report([preset]).run(current, reference)
    answers = [answer for answer in snapshot.dict()["metrics"] if "column" in answer["config"]]
    found = {answer["config"]["column"]: float(answer["value"]) for answer in answers}
    scores = {column: found[name] for column, name in shown.items() if name in found}
    page = snapshot.get_html_str(as_iframe=False)
    return scores, page.replace("<head>", f"<head>{_ONLY_ITSELF}", 1)


def _as_text(value: str) -> str:
    """The value as HTML that shows it; two values stay two. Evidently writes it into a script."""
    return escape(value, quote=False)


def _as_texts(column: pd.Series[Any] | None) -> pd.Series[Any] | None:
    if column is None or pd.api.types.is_numeric_dtype(column):
        return column
    texts = {
        value: _as_text(value)
        for value in column.unique()
        if isinstance(value, str) and _as_text(value) != value
    }
    return column.astype(object).map(lambda value: texts.get(value, value)) if texts else column


def _draw_the_drawable(pending: Sequence[ColumnComparison], max_drift_share: float) -> str | None:
    """The page of the columns that Evidently can draw alone; None when that fails too."""
    drawable = []
    for comparison in pending:
        try:
            _draw([comparison], max_drift_share)
            drawable.append(comparison)
        except Exception:  # this is the search for the column that fails
            continue
    try:
        return _draw(drawable, max_drift_share)[1] if drawable else None
    except Exception:  # the page is for people to look at; the verdicts stand without it
        return None
