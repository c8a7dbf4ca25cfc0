"""Two frames -> DriftReport. Evidently measures and draws; the limit of each column is calibrated
here, on the reference itself.

Distances: Wasserstein over the reference's standard deviation for numeric columns, Jensen-Shannon
(base e) for categorical ones. A fixed limit on either alarms on noise when windows are small: with
5,000 reference and 100 current rows, 3 of 4 undrifted numeric columns pass 0.1. So the limit of a
column is the larger of `min_distance` and what undrifted windows of these sizes would show:

- Noise: both sides are drawn again and again, with replacement, from the reference column, as many rows as each side has values
  (a bootstrap; it works whichever side is larger), and the distance is taken every time.
- Limit: a gamma law with the mean and variance of the squared distances, read at `false_alarm_rate` over the number of
  comparisons (Bonferroni). Both distances behave like the length of a Gaussian vector, whose square is nearly gamma
  (Satterthwaite 1946, Biometrics Bulletin 2:110), and a quantile of 0.0005 cannot be read off 100 draws. The variance is taken two standard
  errors high and no limit lies below the largest draw, because an overlooked tail costs alarms for ever.

Evidently drops nulls. Here the null shares of a numeric column are a comparison of their own, and
the worse of the two stands for the column; the nulls of a categorical column are a category. Rows
beyond `sample_rows` a side are left out by a seeded draw, so time and memory are bounded and the
verdict does not depend on how large a table is.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import gamma

from closedloop.decisions.evidence import ColumnDrift, DriftReport
from closedloop.decisions.policy import DriftPolicy

Floats = NDArray[np.float64]

WASSERSTEIN, JENSENSHANNON = "wasserstein", "jensenshannon"  # Evidently's names
NULL_SHARE, SAME_SHARE = (
    "jensenshannon of the null share",
    "jensenshannon of the share of the constant",
)
MISSING = "(missing)"

_SIDES = ("the reference", "the current window")
_LARGEST_JENSENSHANNON = float(np.sqrt(np.log(2)))
_SMALLEST_NORM = 0.001  # Evidently divides by no smaller standard deviation
_CONSTANT = 1e-9  # a spread this small against the values is rounding


@dataclass(frozen=True)
class _Comparison:
    """One distance of one column. `score` is None as long as Evidently has to measure it, from the
    two columns given; `noise` are distances without drift, empty when nothing can be compared."""

    column: str
    method: str
    noise: Floats
    score: float | None = None
    reference: pd.Series[Any] | None = None
    current: pd.Series[Any] | None = None
    limit: float | None = None
    note: str = ""


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
    with_html: bool = True,
    ignore_nulls: frozenset[str] = frozenset(),
    max_drift_share: float = 0.5,
) -> tuple[DriftReport, str | None]:
    """Hold the current window against the reference; columns in the order of `numeric`, then
    `categorical`.

    `ignore_nulls` names columns whose nulls mean nothing: such rows are left out of the column. A
    column that cannot be measured has score None and a note; no column stops the others. The second
    value is Evidently's page for the values of the columns (about 5 MB; None without `with_html`,
    or when there was nothing to draw); `max_drift_share` is only what its headline is held against.
    The report's row counts are those of the frames given, not of the sample.
    """
    sides = (
        _sample(reference, policy.sample_rows, [seed, 0]),
        _sample(current, policy.sample_rows, [seed, 1]),
    )
    comparisons: list[_Comparison] = []
    for column in (*numeric, *categorical):
        rng = np.random.default_rng(
            [seed, zlib.crc32(column.encode())]
        )  # a column's limit depends on no other column
        comparisons += _compare_column(
            column, sides, column in numeric, column not in ignore_nulls, policy.resamples, rng
        )
    asked = sum(1 for one in comparisons if one.noise.size)
    limited = [
        _with_limit(one, policy.false_alarm_rate / max(asked, 1), policy.min_distance)
        for one in comparisons
    ]
    measured, html = _ask_evidently(limited, with_html, max_drift_share)
    columns = tuple(
        _worst([one for one in measured if one.column == column])
        for column in (*numeric, *categorical)
    )
    return DriftReport(reference_name, current_name, len(reference), len(current), columns), html


def _sample(frame: pd.DataFrame, rows: int, seed: list[int]) -> pd.DataFrame:
    if len(frame) > rows:
        frame = frame.iloc[
            np.sort(np.random.default_rng(seed).choice(len(frame), rows, replace=False))
        ]
    return frame.reset_index(drop=True)


def _compare_column(
    column: str,
    sides: tuple[pd.DataFrame, pd.DataFrame],
    is_numeric: bool,
    with_nulls: bool,
    resamples: int,
    rng: np.random.Generator,
) -> list[_Comparison]:
    """The one or two comparisons of a column; one without noise, with a note, when it cannot be
    measured."""
    for name, side in zip(_SIDES, sides, strict=True):
        if column not in side or side.empty:
            return [
                _Comparison(
                    column,
                    "none",
                    np.empty(0),
                    note=f"no {'rows' if column in side else 'such column'} in {name}",
                )
            ]
    if is_numeric:
        reference, current = (_numbers(side[column]) for side in sides)
        return _compare_numbers(column, reference, current, with_nulls, resamples, rng)
    reference, current = (_categories(side[column], with_nulls) for side in sides)
    empty = [
        name for name, side in zip(_SIDES, (reference, current), strict=True) if not side.count()
    ]
    if empty:
        return [
            _Comparison(column, "none", np.empty(0), note=f"no values in {' and '.join(empty)}")
        ]
    noise = _jensenshannon_noise(
        reference.value_counts().to_numpy(), int(current.count()), resamples, rng
    )
    return [_Comparison(column, JENSENSHANNON, noise, reference=reference, current=current)]


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """As floats; what is no finite number is null."""
    return pd.to_numeric(column, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)


def _categories(column: pd.Series[Any], with_nulls: bool) -> pd.Series[Any]:
    """As text; a null is the category "(missing)", or stays null when nulls mean nothing."""
    text = column.astype(object).where(column.notna(), MISSING).map(str).astype(object)
    return text if with_nulls else text.where(text != MISSING, np.nan)


def _compare_numbers(
    column: str,
    reference: pd.Series[Any],
    current: pd.Series[Any],
    with_nulls: bool,
    resamples: int,
    rng: np.random.Generator,
) -> list[_Comparison]:
    before, now = reference.dropna().to_numpy(), current.dropna().to_numpy()
    found = []
    empty = [name for name, side in zip(_SIDES, (before, now), strict=True) if not len(side)]
    if len(empty) == 2 or (empty and not with_nulls):
        return [
            _Comparison(column, "none", np.empty(0), note=f"no values in {' and '.join(empty)}")
        ]
    if with_nulls and len(before) + len(now) < len(reference) + len(current):
        null_share = _share_comparison(
            column, NULL_SHARE, reference.isna(), current.isna(), resamples, rng
        )
        found.append(replace(null_share, note=f"no values in {empty[0]}" if empty else ""))
    if empty:
        return found
    low, high = float(before.min()), float(before.max())
    tolerance = _CONSTANT * max(abs(low), abs(high))
    if high - low <= tolerance:  # no spread to measure a distance in: is the value still the same?
        same = _share_comparison(
            column,
            SAME_SHARE,
            np.ones(len(before), dtype=bool),
            np.abs(now - low) <= 2 * tolerance,
            resamples,
            rng,
        )
        return [*found, replace(same, note=f"the reference is always {low:g}")]
    with np.errstate(over="ignore"):
        spread = float(np.std(before))
    if not np.isfinite(spread):
        return [
            *found,
            _Comparison(
                column, "none", np.empty(0), note="values too large for a standard deviation"
            ),
        ]
    note = ""
    if (
        spread < _SMALLEST_NORM
    ):  # the distance does not depend on the unit, but Evidently's norm does
        before, reference, current, note = (
            before / spread,
            reference / spread,
            current / spread,
            f"measured in units of {spread:g}",
        )
    return [
        *found,
        _Comparison(
            column,
            WASSERSTEIN,
            _wasserstein_noise(before, len(now), resamples, rng),
            reference=reference,
            current=current,
            note=note,
        ),
    ]


def _share_comparison(
    column: str, method: str, before: Any, now: Any, resamples: int, rng: np.random.Generator
) -> _Comparison:
    """How far apart are the shares of rows for which a claim is true?"""
    shares = [np.array([side.mean(), 1 - side.mean()]) for side in (before, now)]
    counts = np.array([before.sum(), len(before) - before.sum()])
    return _Comparison(
        column,
        method,
        _jensenshannon_noise(counts, len(now), resamples, rng),
        score=float(measure_jensenshannon(*shares)),
    )


def measure_wasserstein(values: Floats, reference: Floats, current: Floats) -> float:
    """Evidently's distance of two samples given as shares (v,) of the sorted distinct `values`
    (v,): the area between the two distribution functions over the reference's standard deviation.
    """
    spread = np.sqrt(max(float(reference @ np.square(values - reference @ values)), 0.0))
    return float(np.abs(np.cumsum(reference - current)[:-1]) @ np.diff(values)) / max(
        float(spread), _SMALLEST_NORM
    )


def measure_jensenshannon(reference: Floats, current: Floats) -> Floats:
    """Evidently's distance of shares (..., k) of the same k categories, 0 to sqrt(ln 2) = 0.83: the
    root of the divergence."""
    middle = (reference + current) / 2
    divergence = (
        xlogy(reference, reference) + xlogy(current, current) - 2 * xlogy(middle, middle)
    ).sum(axis=-1) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))


def _wasserstein_noise(
    values: Floats, rows: int, resamples: int, rng: np.random.Generator
) -> Floats:
    """Distances between `len(values)` and `rows` draws from the same values, shape (resamples,).
    Counting beats sorting each draw."""
    distinct, place = np.unique(values, return_inverse=True)

    def shares(size: int) -> Floats:
        return (
            np.bincount(place[rng.integers(0, len(values), size)], minlength=len(distinct)) / size
        )

    return np.array(
        [measure_wasserstein(distinct, shares(len(values)), shares(rows)) for _ in range(resamples)]
    )


def _jensenshannon_noise(
    counts: NDArray[Any], rows: int, resamples: int, rng: np.random.Generator
) -> Floats:
    """Distances between `counts.sum()` and `rows` draws from the same categories, shape
    (resamples,).

    Some rows will be of categories that the reference has not shown yet: as many as it showed just
    once (Good 1953, Biometrika 40:237), at least half a row. Such a row finds none of its kind on
    the other side.
    """
    seen = int(counts.sum())
    new = min(1.0, max(float((counts == 1).sum()), 0.5) / seen)
    chances = np.append(counts / seen * (1 - new), new)
    reference, current = (
        rng.multinomial(seen, chances, resamples) / seen,
        rng.multinomial(rows, chances, resamples) / rows,
    )
    nothing = np.zeros((resamples, 1))
    return measure_jensenshannon(
        np.hstack([reference, nothing]), np.hstack([current[:, :-1], nothing, current[:, -1:]])
    )


def _with_limit(one: _Comparison, rate: float, floor: float) -> _Comparison:
    """The distance that undrifted windows pass once in 1 / rate, never below the floor."""
    if not one.noise.size:
        return one
    squares = np.square(one.noise)
    mean, variance = float(squares.mean()), float(squares.var(ddof=1))
    limit = max(floor, float(one.noise.max()))
    if variance > 1e-12 * mean**2:
        kurtosis = float(np.mean((squares - mean) ** 4)) / variance**2
        variance *= 1 + 2 * np.sqrt(max(kurtosis - 1, 0.0) / len(squares))
        limit = max(
            limit, float(np.sqrt(gamma.isf(rate, mean**2 / variance, scale=variance / mean)))
        )
    if one.method != WASSERSTEIN and limit >= _LARGEST_JENSENSHANNON:
        note = "too many categories for so few rows: noise alone can reach the largest distance there is"
        return replace(one, noise=np.empty(0), score=None, note=note)
    return replace(one, limit=limit)


def _worst(found: list[_Comparison]) -> ColumnDrift:
    """The comparison nearest to its limit, or furthest beyond it, stands for the column."""
    measured = [one for one in found if one.score is not None and one.limit is not None]
    if not measured:
        return ColumnDrift(found[-1].column, found[-1].method, None, None, found[-1].note)
    worst = max(measured, key=lambda one: (one.score or 0.0) / (one.limit or 1.0))
    notes = dict.fromkeys(
        one.note for one in found if one.note and (one is worst or one.score is None)
    )
    return ColumnDrift(worst.column, worst.method, worst.score, worst.limit, "; ".join(notes))


def _ask_evidently(
    comparisons: list[_Comparison], with_html: bool, max_drift_share: float
) -> tuple[list[_Comparison], str | None]:
    """Fill in the scores that are Evidently's to give, and draw its page when that is wanted."""
    asked = [one for one in comparisons if one.noise.size and one.score is None]
    html: str | None = None
    scores: dict[str, float] = {}
    notes: dict[str, str] = {}
    # Evidently divides by the spread of constant columns on its way to correlations that nobody
    # reads, and says so each time.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if with_html and asked:
            try:
                scores, html = _draw(asked, max_drift_share)
            except Exception:  # one bad column fails the whole report, in any way: the others are measured without it
                scores, notes = _measure_each(asked)
                html = _draw_what_can_be(asked, max_drift_share)
        elif asked:
            scores, notes = _measure_each(asked)
    filled = []
    for one in comparisons:
        if any(one is other for other in asked):
            score = scores.get(one.column, np.nan)
            known = bool(np.isfinite(score))
            note = one.note if known else notes.get(one.column, "Evidently gave no finite distance")
            filled.append(replace(one, score=score if known else None, note=note))
        else:
            filled.append(one)
    return filled, html


def _measure_each(asked: list[_Comparison]) -> tuple[dict[str, float], dict[str, str]]:
    """Scores, and notes on failures, by column: Evidently's own distances without its report, which
    takes fifty times as long."""
    from evidently.legacy.calculations.stattests import (
        jensenshannon_stat_test,
        wasserstein_stat_test,
    )
    from evidently.legacy.core import ColumnType

    scores: dict[str, float] = {}
    notes: dict[str, str] = {}
    for one in asked:
        test, kind = wasserstein_stat_test, ColumnType.Numerical
        if one.method == JENSENSHANNON:
            test, kind = jensenshannon_stat_test, ColumnType.Categorical
        try:
            if one.reference is not None and one.current is not None:
                scores[one.column] = float(
                    test(one.reference.dropna(), one.current.dropna(), kind, one.limit).drift_score
                )
        except Exception as error:  # whatever it is, the other columns are to be measured
            notes[one.column] = f"Evidently could not measure it: {type(error).__name__}: {error}"
    return scores, notes


def _draw(asked: list[_Comparison], max_drift_share: float) -> tuple[dict[str, float], str]:
    """Scores by column and the page, from one run of Evidently's report."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[one.column for one in asked if one.method == WASSERSTEIN],
        categorical_columns=[one.column for one in asked if one.method == JENSENSHANNON],
    )
    reference = Dataset.from_pandas(
        pd.DataFrame({one.column: one.reference for one in asked}), data_definition=definition
    )
    current = Dataset.from_pandas(
        pd.DataFrame({one.column: one.current for one in asked}), data_definition=definition
    )
    preset = DataDriftPreset(
        columns=[one.column for one in asked],
        drift_share=max_drift_share,
        per_column_method={one.column: one.method for one in asked},
        per_column_threshold={one.column: one.limit for one in asked},
    )
    snapshot = Report([preset]).run(current, reference)
    answers = [answer for answer in snapshot.dict()["metrics"] if "column" in answer["config"]]
    scores = {answer["config"]["column"]: float(answer["value"]) for answer in answers}
    return scores, snapshot.get_html_str(as_iframe=False)


def _draw_what_can_be(asked: list[_Comparison], max_drift_share: float) -> str | None:
    """The page of those columns that Evidently can draw alone; None when there is none, or when
    they fail together."""
    good = []
    for one in asked:
        try:
            _draw([one], max_drift_share)
            good.append(one)
        except Exception:  # this is the search for what fails
            continue
    try:
        return _draw(good, max_drift_share)[1] if good else None
    except Exception:  # the page is for people to look at; the verdicts stand without it
        return None


def load_evidently() -> None:
    """Import Evidently now (7 to 9 seconds) rather than in the middle of the first turn."""
    import evidently.presets  # noqa: F401
