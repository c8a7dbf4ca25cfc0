"""Performance before the labels come: what AUC a model should reach on a window, by its own
calibrated probabilities.

Confidence-based performance estimation (CBPE, the name that NannyML gave it; the idea that a
model's confidence foretells its performance is measured in Guillory et al. 2021, 'Predicting with
confidence on unseen distributions', and Garg et al. 2022, 'Leveraging unlabeled data to predict
out-of-distribution performance'). A row with the calibrated probability p counts as p positives and
1 - p negatives, ranked by the model's raw score as `scoring` ranks it. The AUC of those fractional
rows is the expected one.

What it assumes, and cannot see:

- The calibration still holds: P(label | score) is what it was on the rows that it was learnt on. Inputs may move (covariate shift) as
  far as scores stay calibrated. When the same inputs come to mean other labels (concept change), the estimate stays where it was.
- Labels are independent, given their rows. Where they come in runs, as in many time series, the band is too narrow.

So it is a reason to look, and never proof that all is well. Probabilities have shape (n, k), n rows and k classes, labels are integers
0..k-1; with more than two classes every AUC is macro one-versus-rest, as in `scoring`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from closedloop.decisions.evidence import Estimate
from closedloop.errors import ModelError

Floats = NDArray[np.float64]

# With fewer, a free monotone curve follows the noise of its rows and promises too much:
# docs/decisions.md has it measured.
_MIN_ROWS_FOR_ISOTONIC = 10_000
_MOST_ROWS = (
    20_000  # a calibration curve, and the spread of an estimate, are known well enough from so many
)
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
    """Scores -> probabilities that come true as often as they say. One curve a class, with two
    classes one for the second.

    `redrawn` holds the same curves learnt again on resamples of the rows: how far they scatter says
    how well they are known.
    """

    classes: int
    curves: tuple[Curve, ...]
    redrawn: tuple[tuple[Curve, ...], ...]
    rows: int

    def apply(self, probabilities: NDArray[np.floating[Any]]) -> Floats:
        """Calibrated probabilities, shape (n, k), each row summing to 1. Raises ModelError as
        `estimate_auc_without_labels` does."""
        return _calibrate(_checked(probabilities, self.classes), self.curves)


def fit_calibration(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    seed: int = 0,
    draws: int = 50,
) -> Calibration | None:
    """Learn what a model's probabilities are worth on labelled rows that the model was not trained
    on.

    Isotonic regression; Platt's sigmoid (1999) with fewer than 10,000 rows. Of more than 20,000
    rows a seeded sample is used. `draws` is how often the curves are learnt again, each time on as
    many rows drawn with replacement; fewer than 2 leave the uncertainty of the calibration out of
    every band. None when a class has fewer than two rows; ModelError as
    `estimate_auc_without_labels`, and when labels do not fit the probabilities.
    """
    given = _checked(probabilities)
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
    rows = len(known)
    if rows > _MOST_ROWS:
        kept = rng.choice(rows, _MOST_ROWS, replace=False)
        # A class so rare that the sample lacks it would be lost for good: two of its rows come
        # along.
        kept = np.unique(np.r_[kept, *(np.flatnonzero(known == one)[:2] for one in range(classes))])
        given, known = given[kept], known[kept]
    fit = _fit_steps if len(known) >= _MIN_ROWS_FOR_ISOTONIC else _fit_sigmoid
    redrawn = []
    for _ in range(draws):
        drawn = rng.integers(0, len(known), len(known))
        redrawn.append(_fit_curves(known[drawn], given[drawn], fit))
    return Calibration(classes, _fit_curves(known, given, fit), tuple(redrawn), rows)


def estimate_auc_without_labels(
    probabilities: NDArray[np.floating[Any]],
    calibration: Calibration,
    confidence: float,
    seed: int = 0,
) -> Estimate | None:
    """The ROC AUC that the labels of these rows would show, and the band in which it then falls
    with probability `confidence`.

    The band is that of the realised AUC on exactly these rows, not of an AUC on rows like them, so
    it is narrower than DeLong's. Two variances are added. One is of the labels, independent draws
    from the calibrated probabilities: to first order the AUC is a sum over rows, so the variance is
    too, in one sort (no labels need to be drawn; the test draws them and finds the same). The other
    is of the calibration, from its redrawn curves, on a seeded sample of at most 20,000 rows. What
    the docstring of this module says it cannot see is in neither.

    None when fewer than two rows of a class are expected. Raises ModelError when probabilities are
    not of the calibration's classes, or are null, infinite or outside 0 to 1.
    """
    scores = _checked(probabilities, calibration.classes)
    found = _expect_auc(scores, _calibrate(scores, calibration.curves))
    if found is None:
        return None
    auc, variance = found
    reach = float(
        norm.ppf(0.5 + confidence / 2)
        * np.sqrt(variance + _variance_of_calibration(scores, calibration, seed))
    )
    return Estimate(auc, max(0.0, auc - reach), min(1.0, auc + reach), len(scores))


def _checked(probabilities: NDArray[np.floating[Any]], classes: int | None = None) -> Floats:
    """Probabilities as float64, shape (n, k). Raises ModelError."""
    found = np.asarray(probabilities, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] < 2 or (classes is not None and found.shape[1] != classes):
        got, then = f"shape {found.shape}", "calibrate and score the same model"
    elif not np.isfinite(found).all():
        got, then = (
            f"{int((~np.isfinite(found)).any(axis=1).sum())} rows with null or infinite ones",
            "look for rows that the model cannot answer",
        )
    elif len(found) and (found.min() < 0 or found.max() > 1):
        got, then = (
            f"numbers from {found.min():g} to {found.max():g}",
            "give predict_proba's answers, not decision scores",
        )
    else:
        return found
    raise ModelError(
        where="estimate without labels",
        wanted=f"probabilities in {classes or 'two or more'} columns",
        got=got,
        then=then,
    )


def _columns(classes: int) -> list[int]:
    """The one-versus-rest questions: only the positive class when there are two."""
    return [1] if classes == 2 else list(range(classes))


def _log_odds(scores: Floats | np.floating[Any]) -> Floats:
    inside = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside), dtype=np.float64)


def _fit_curves(
    labels: NDArray[np.integer[Any]], scores: Floats, fit: Callable[[Floats, Floats], Curve]
) -> tuple[Curve, ...]:
    return tuple(
        fit((labels == one).astype(np.float64), scores[:, one]) for one in _columns(scores.shape[1])
    )


def _fit_steps(hits: Floats, scores: Floats) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, hits)
    return Steps(
        np.asarray(fitted.X_thresholds_, dtype=np.float64),
        np.asarray(fitted.y_thresholds_, dtype=np.float64),
    )


def _fit_sigmoid(hits: Floats, scores: Floats) -> Curve:
    """Platt's smoothed targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), keep the curve finite when
    the classes do not overlap.

    Newton's method, a step halved until it leads down: a few ms for 5,000 rows, and it is done once
    for every draw.
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


def _calibrate(scores: Floats, curves: tuple[Curve, ...]) -> Floats:
    shares = np.column_stack(
        [
            curve.apply(scores[:, one])
            for one, curve in zip(_columns(scores.shape[1]), curves, strict=True)
        ]
    )
    if shares.shape[1] == 1:
        return np.column_stack([1 - shares, shares])
    total = shares.sum(axis=1, keepdims=True)
    # Where every curve says 0 there is nothing to renormalise; the model's own answer is all that
    # is known.
    own = scores / np.maximum(scores.sum(axis=1, keepdims=True), _SMALLEST)
    return np.asarray(
        np.where(total > 0, shares / np.maximum(total, _SMALLEST), own), dtype=np.float64
    )


def _expect_auc(scores: Floats, expected: Floats) -> tuple[float, float] | None:
    """AUC when row i is of class k with probability expected[i, k], and its variance; None when a
    class has fewer than two such rows."""
    if len(scores) < 2 or expected.sum(axis=0).min() < 2:
        return None
    asked = _columns(scores.shape[1])
    parts = [_expect_one(scores[:, one], expected[:, one]) for one in asked]
    slopes = np.column_stack([slope for _, slope in parts]) / len(parts)
    likely = expected[:, asked]
    # Each row draws one class, so its variance is that of a categorical variable with the slopes as
    # values.
    variance = (likely * np.square(slopes)).sum(axis=1) - np.square((likely * slopes).sum(axis=1))
    return sum(auc for auc, _ in parts) / len(parts), float(variance.clip(min=0).sum())


def _expect_one(scores: Floats, expected: Floats) -> tuple[float, Floats]:
    """Expected pairs won over expected pairs, and how far each row's label moves that: shape (n,).
    One sort.

    A row is never paired with itself: it takes its own half of a positive and half of a negative
    out of the sums.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ties = np.diff(np.r_[starts, len(ranked)])
    hits = np.add.reduceat(expected[order], starts)
    misses = np.add.reduceat(1 - expected[order], starts)
    positives, negatives = float(hits.sum()), float(misses.sum())
    below, above = np.empty(len(scores)), np.empty(len(scores))
    below[order] = np.repeat(np.cumsum(misses) - misses / 2, ties)
    above[order] = np.repeat(positives - np.cumsum(hits) + hits / 2, ties)
    below -= (1 - expected) / 2
    above -= expected / 2
    others = (negatives - (1 - expected)) - (positives - expected)
    pairs = positives * negatives - float((expected * (1 - expected)).sum())
    auc = float((expected * below).sum()) / pairs
    return auc, (below - above - auc * others) / pairs


def _variance_of_calibration(scores: Floats, calibration: Calibration, seed: int) -> float:
    if len(calibration.redrawn) < 2:
        return 0.0
    if len(scores) > _MOST_ROWS:
        scores = scores[np.random.default_rng(seed).choice(len(scores), _MOST_ROWS, replace=False)]
    found = [_expect_auc(scores, _calibrate(scores, curves)) for curves in calibration.redrawn]
    values = [one[0] for one in found if one is not None]
    return float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
