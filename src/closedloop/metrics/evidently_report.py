"""The only file that calls Evidently: its page about the columns of a drift report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
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


# More rows of a side would take minutes to draw, and look the same; so would more categories.
_MOST_ROWS, _MOST_CATEGORIES, _OTHERS = 50_000, 1_000, "(others)"
# The distances of the columns that are being drawn, and how Evidently names them.
_SCORES: ContextVar[Mapping[str, float]] = ContextVar("_SCORES")
_METHODS = {
    WASSERSTEIN: "Wasserstein distance (normed)",
    JENSENSHANNON: "Jensen-Shannon distance",
}


def load_evidently() -> None:
    """Import Evidently now (7 to 9 seconds) rather than in the middle of the first turn."""
    import evidently.presets  # noqa: F401


def draw_page(
    comparisons: Sequence[ColumnComparison],
    sides: tuple[pd.DataFrame, pd.DataFrame],
    max_drift_share: float,
) -> str | None:
    """The page about those comparisons that can be drawn; None when there are none.

    `sides` are the rows of the reference and the window. It tells the distances that were measured
    on all of them, and draws 50,000 at most; of a column with very many categories the most
    frequent. `max_drift_share` is the limit in its headline.
    """
    shown = [
        comparison
        for comparison in comparisons
        if comparison.show is not None and comparison.limit is not None
    ]
    sides = _take(sides[0], shown), _take(sides[1], shown)
    names = [_as_text(comparison.column) for comparison in shown]
    scores = [comparison.score or 0.0 for comparison in shown]
    _SCORES.set(dict(zip(names, scores, strict=True)))
    # On the way to correlations that nobody reads, Evidently divides by the spread of constant
    # columns and warns each time.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return _draw(shown, sides, max_drift_share) if shown else None
        except Exception:  # one bad column can break the whole page
            return _draw_the_drawable(shown, sides, max_drift_share)


def _take(side: pd.DataFrame, shown: Sequence[ColumnComparison]) -> pd.DataFrame:
    """The columns that are shown, of rows drawn at random when there are too many."""
    found = side[[comparison.column for comparison in shown]]
    if len(found) > _MOST_ROWS:
        found = found.sample(_MOST_ROWS, random_state=0)
    return found.reset_index(drop=True)


def _draw(
    shown: Sequence[ColumnComparison],
    sides: tuple[pd.DataFrame, pd.DataFrame],
    max_drift_share: float,
) -> str:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = {comparison.column: _as_text(comparison.column) for comparison in shown}

    def named(method: str) -> list[str]:
        return [names[comparison.column] for comparison in shown if comparison.method == method]

    definition = DataDefinition(
        numerical_columns=named(WASSERSTEIN), categorical_columns=named(JENSENSHANNON)
    )
    columns: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for comparison in shown:
        assert comparison.show is not None
        drawn = [comparison.show(side[comparison.column]) for side in sides]
        if comparison.method == JENSENSHANNON:
            drawn = _fold(drawn)
        for side, column in zip(columns, drawn, strict=True):
            side[names[comparison.column]] = _as_texts(column)
    reference, current = (
        Dataset.from_pandas(pd.DataFrame(side), data_definition=definition) for side in columns
    )
    preset = DataDriftPreset(
        columns=list(names.values()),
        drift_share=max_drift_share,
        per_column_method={
            names[comparison.column]: _register(comparison.method) for comparison in shown
        },
        per_column_threshold={names[comparison.column]: comparison.limit for comparison in shown},
    )
    page: str = Report([preset]).run(current, reference).get_html_str(as_iframe=False)
    return page.replace("<head>", f"<head>{_ONLY_ITSELF}", 1)


def _register(method: str) -> str:
    """The name of a test of Evidently's that tells what was measured, instead of measuring."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    name = f"measured_{method}"
    register_stattest(StatTest(name, _METHODS[method], kinds), _tell_measured)
    return name


def _tell_measured(
    reference: pd.Series[Any], _current: Any, _kind: Any, limit: float
) -> tuple[float, bool]:
    score = _SCORES.get()[str(reference.name)]
    return score, score >= limit


def _fold(sides: Sequence[pd.Series[Any]]) -> list[pd.Series[Any]]:
    """The most frequent categories of both sides; all others are one."""
    counts = pd.concat(list(sides)).value_counts()
    if len(counts) <= _MOST_CATEGORIES:
        return list(sides)
    kept = counts.index[:_MOST_CATEGORIES]
    return [side.where(side.isin(kept) | side.isna(), _OTHERS) for side in sides]


def _as_text(value: str) -> str:
    """The value as HTML that shows it; two values stay two. Evidently writes it into a script."""
    return escape(value, quote=False)


def _as_texts(column: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(column):
        return column
    texts = {
        value: _as_text(value)
        for value in column.unique()
        if isinstance(value, str) and _as_text(value) != value
    }
    return column.astype(object).map(lambda value: texts.get(value, value)) if texts else column


def _draw_the_drawable(
    shown: Sequence[ColumnComparison],
    sides: tuple[pd.DataFrame, pd.DataFrame],
    max_drift_share: float,
) -> str | None:
    """The page of the columns that Evidently can draw alone; None when that fails too."""
    drawable = []
    for comparison in shown:
        try:
            _draw([comparison], sides, max_drift_share)
            drawable.append(comparison)
        except Exception:  # this is the search for the column that fails
            continue
    try:
        return _draw(drawable, sides, max_drift_share) if drawable else None
    except Exception:  # the page is for people to look at; the verdicts stand without it
        return None
