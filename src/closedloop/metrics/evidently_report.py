"""The only file that calls Evidently: its page about the columns of a drift report."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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


def draw_page(comparisons: Sequence[ColumnComparison], max_drift_share: float) -> str | None:
    """The page about those comparisons that can be drawn; None when there are none.

    They have two sides and a limit. Evidently measures them again: its distances are those of
    `drift_limits`. `max_drift_share` is the limit in its headline.
    """
    shown = [
        comparison
        for comparison in comparisons
        if comparison.reference is not None and comparison.limit is not None
    ]
    # On the way to correlations that nobody reads, Evidently divides by the spread of constant
    # columns and warns each time.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return _draw(shown, max_drift_share) if shown else None
        except Exception:  # one bad column can break the whole page
            return _draw_the_drawable(shown, max_drift_share)


def _draw(shown: Sequence[ColumnComparison], max_drift_share: float) -> str:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = {comparison.column: _as_text(comparison.column) for comparison in shown}

    def named(method: str) -> list[str]:
        return [names[comparison.column] for comparison in shown if comparison.method == method]

    definition = DataDefinition(
        numerical_columns=named(WASSERSTEIN), categorical_columns=named(JENSENSHANNON)
    )
    reference, current = (
        Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition)
        for columns in (
            {names[comparison.column]: _as_texts(comparison.reference) for comparison in shown},
            {names[comparison.column]: _as_texts(comparison.current) for comparison in shown},
        )
    )
    preset = DataDriftPreset(
        columns=list(names.values()),
        drift_share=max_drift_share,
        per_column_method={names[comparison.column]: comparison.method for comparison in shown},
        per_column_threshold={names[comparison.column]: comparison.limit for comparison in shown},
    )
    page: str = Report([preset]).run(current, reference).get_html_str(as_iframe=False)
    return page.replace("<head>", f"<head>{_ONLY_ITSELF}", 1)


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


def _draw_the_drawable(shown: Sequence[ColumnComparison], max_drift_share: float) -> str | None:
    """The page of the columns that Evidently can draw alone; None when that fails too."""
    drawable = []
    for comparison in shown:
        try:
            _draw([comparison], max_drift_share)
            drawable.append(comparison)
        except Exception:  # this is the search for the column that fails
            continue
    try:
        return _draw(drawable, max_drift_share) if drawable else None
    except Exception:  # the page is for people to look at; the verdicts stand without it
        return None
