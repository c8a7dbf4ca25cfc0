"""What a model's probabilities are worth: curves learnt on labelled rows that make them come true.

Isotonic regression, or Platt's sigmoid (1999) when rows are few. Probabilities have shape (n, k), n
rows and k classes; labels are integers 0..k-1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from closedloop.errors import ModelError
from closedloop.metrics.auc import positive_columns

Floats = NDArray[np.float64]

# Enough rows to know a calibration curve, or the spread of an estimate.
MOST_ROWS = 20_000
# With fewer, a free monotone curve follows the noise of its rows and promises too much:
# docs/decisions.md has it measured.
_MIN_ROWS_FOR_ISOTONIC = 10_000
_RIDGE = 1e-6  # scores that are all the same leave the slope open: then it is 0
_MOST_STEPS, _SMALLEST_STEP = 50, 1e-7
_SMALLEST = 1e-12  # nearer to 0 and 1 the log-odds of a score say nothing more


@dataclass(frozen=True)
class Steps:
    """An isotonic curve: straight between `scores` (ascending), flat beyond them."""

    scores: Floats
    shares: Floats

    def apply(self, scores: Floats) -> Floats:
        """Share of positives at each score, shape (n,)."""
        return np.interp(scores, self.scores, self.shares)


@dataclass(frozen=True)
class Sigmoid:
    """Platt's curve over the log-odds of the score."""

    slope: float
    intercept: float

    def apply(self, scores: Floats) -> Floats:
        """Share of positives at each score, shape (n,)."""
        return np.asarray(expit(self.slope * _log_odds(scores) + self.intercept), dtype=np.float64)


Curve = Steps | Sigmoid


@dataclass(frozen=True)
class Calibration:
    """Scores -> probabilities that come true as often as they say.

    One curve per class; with two classes one for the second. `redrawn` holds the same curves learnt
    again on resamples of the rows: how far they scatter says how well they are known.
    """

    classes: int
    curves: tuple[Curve, ...]
    redrawn: tuple[tuple[Curve, ...], ...]


def fit_calibration(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    seed: int = 0,
    draws: int = 50,
) -> Calibration | None:
    """Learn the curves on labelled rows that the model was not trained on.

    Isotonic regression; Platt's sigmoid with fewer than 10,000 rows. Of more than 20,000 rows a
    seeded sample is used. `draws` is how often the curves are learnt again, each time on as many
    rows drawn with replacement; fewer than 2 leave the uncertainty of the calibration out of every
    band. None when a class has fewer than two rows. Raises ModelError as `check_probabilities`
    does, and when labels do not fit the probabilities.
    """
    given = check_probabilities(probabilities)
    known = np.asarray(labels)
    if len(known) != len(given) or (
        len(known) and not (known.min() >= 0 and known.max() < given.shape[1])
    ):
        raise ModelError(
            where="calibration",
            wanted=f"labels 0 to {given.shape[1] - 1} for {len(given)} rows",
            got=f"{len(known)} labels"
            + (f", {known.min()} to {known.max()}" if len(known) else ""),
            then="score the labelled rows with the model of the same classes",
        )
    classes = given.shape[1]
    if np.bincount(known, minlength=classes).min() < 2:
        return None
    rng = np.random.default_rng(seed)
    if len(known) > MOST_ROWS:
        sample = rng.choice(len(known), MOST_ROWS, replace=False)
        # A class so rare that the sample lacks it would be lost: two of its rows come along.
        rare = (np.flatnonzero(known == label)[:2] for label in range(classes))
        sample = np.unique(np.r_[sample, *rare])
        given, known = given[sample], known[sample]
    fit = _fit_steps if len(known) >= _MIN_ROWS_FOR_ISOTONIC else _fit_sigmoid
    redrawn = []
    for _ in range(draws):
        drawn = rng.integers(0, len(known), len(known))
        redrawn.append(_fit_curves(known[drawn], given[drawn], fit))
    return Calibration(classes, _fit_curves(known, given, fit), tuple(redrawn))


def check_probabilities(
    probabilities: NDArray[np.floating[Any]], classes: int | None = None
) -> Floats:
    """Probabilities as float64, shape (n, k).

    Raises ModelError when they have another number of classes, or are null, infinite or outside 0
    to 1.
    """
    found = np.asarray(probabilities, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] < 2 or (classes is not None and found.shape[1] != classes):
        got, then = f"shape {found.shape}", "calibrate and score the same model"
    elif not np.isfinite(found).all():
        got, then = (
            f"{int((~np.isfinite(found)).any(axis=1).sum())} rows with null or infinite values",
            "look for rows that the model cannot answer",
        )
    elif len(found) and (found.min() < 0 or found.max() > 1):
        got, then = (
            f"numbers from {found.min():g} to {found.max():g}",
            "pass the output of predict_proba, not decision scores",
        )
    else:
        return found
    raise ModelError(
        where="estimate without labels",
        wanted=f"probabilities in {classes or 'two or more'} columns",
        got=got,
        then=then,
    )


def _log_odds(scores: Floats | np.floating[Any]) -> Floats:
    inside = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside), dtype=np.float64)


def _fit_curves(
    labels: NDArray[np.integer[Any]], scores: Floats, fit: Callable[[Floats, Floats], Curve]
) -> tuple[Curve, ...]:
    return tuple(
        fit((labels == column).astype(np.float64), scores[:, column])
        for column in positive_columns(scores.shape[1])
    )


def _fit_steps(hits: Floats, scores: Floats) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, hits)
    return Steps(
        np.asarray(fitted.X_thresholds_, dtype=np.float64),
        np.asarray(fitted.y_thresholds_, dtype=np.float64),
    )


def _fit_sigmoid(hits: Floats, scores: Floats) -> Curve:
    """Platt's curve by Newton's method, halving a step until it leads down.

    His smoothed targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), keep the curve finite when the
    classes do not overlap. It takes a few ms for 5,000 rows, and runs once for every draw.
    """
    rows, positives = len(hits), hits.sum()
    targets = np.where(hits == 1, (positives + 1) / (positives + 2), 1 / (rows - positives + 2))
    odds = _log_odds(scores)
    center, spread = odds.mean(), odds.std() or 1.0
    along = np.column_stack([(odds - center) / spread, np.ones(rows)])
    found = np.array([0.0, float(_log_odds(targets.mean()))])
    loss = _sigmoid_loss(found, along, targets)
    for _ in range(_MOST_STEPS):
        likely = expit(along @ found)
        bend = along.T @ (along * (likely * (1 - likely))[:, None]) + _RIDGE * np.eye(2)
        step = np.linalg.solve(bend, along.T @ (likely - targets) + _RIDGE * found)
        while (lower := _sigmoid_loss(found - step, along, targets)) > loss and np.abs(
            step
        ).max() > _SMALLEST_STEP:
            step /= 2
        if np.abs(step).max() <= _SMALLEST_STEP:
            break
        found, loss = found - step, lower
    slope = float(found[0]) / float(spread)
    return Sigmoid(slope, float(found[1]) - slope * float(center))


def _sigmoid_loss(found: Floats, along: Floats, targets: Floats) -> float:
    line = along @ found
    return float((np.logaddexp(0, line) - targets * line).sum() + _RIDGE / 2 * (found @ found))


def calibrate(scores: Floats, curves: tuple[Curve, ...]) -> Floats:
    """Checked scores through the curves, one per class, shape (n, k); each row sums to 1."""
    shares = np.column_stack(
        [
            curve.apply(scores[:, column])
            for column, curve in zip(positive_columns(scores.shape[1]), curves, strict=True)
        ]
    )
    if shares.shape[1] == 1:
        return np.column_stack([1 - shares, shares])
    total = shares.sum(axis=1, keepdims=True)
    # Where every curve says 0 there is nothing to renormalise: the model's own answer stays.
    own = scores / np.maximum(scores.sum(axis=1, keepdims=True), _SMALLEST)
    return np.asarray(
        np.where(total > 0, shares / np.maximum(total, _SMALLEST), own), dtype=np.float64
    )
