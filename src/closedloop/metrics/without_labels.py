"""Performance before the labels come: the AUC to expect, by calibrated probabilities.

Confidence-based performance estimation (CBPE, as NannyML named it; that a model's confidence
foretells its performance is measured in Guillory et al. 2021, 'Predicting with confidence on unseen
distributions', and Garg et al. 2022, 'Leveraging unlabeled data to predict out-of-distribution
performance'). A row with the calibrated probability p counts as p positives and 1 - p negatives,
ranked by the model's raw score as in `auc`. The AUC of those fractional rows is the expected one.

What it assumes, and cannot see:

- The calibration still holds: P(label | score) is what it was on the rows that it was learnt on.
  Inputs may move (covariate shift) as far as scores stay calibrated. When the same inputs come to
  mean other labels (concept change), the estimate stays where it was.
- Labels are independent, given their rows. Where they come in runs, as in many time series, the
  band is too narrow.

So it is a reason to look, and never proof that all is well. Probabilities have shape (n, k), n rows
and k classes; with more than two classes every AUC is macro one-versus-rest, as in `auc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.decisions.evidence import Estimate
from closedloop.metrics.auc import positive_columns
from closedloop.metrics.calibration import (
    MOST_ROWS,
    Calibration,
    Floats,
    calibrate,
    check_probabilities,
)


def estimate_auc_without_labels(
    probabilities: NDArray[np.floating[Any]],
    calibration: Calibration,
    confidence: float,
    seed: int = 0,
) -> Estimate | None:
    """The ROC AUC that labels of these rows should show, with a band at `confidence`.

    The band is that of the realised AUC on exactly these rows, not of an AUC on rows like them, so
    it is narrower than DeLong's. Two variances are added. One is of the labels, independent draws
    from the calibrated probabilities: to first order the AUC is a sum over rows, so the variance is
    too, in one sort (no labels need to be drawn; the test draws them and finds the same). The other
    is of the calibration, from its redrawn curves, on a seeded sample of at most 20,000 rows. What
    the docstring of this module says it cannot see is in neither.

    None when fewer than two rows of a class are expected. Raises ModelError when the probabilities
    have other classes than the calibration, or are null, infinite or outside 0 to 1.
    """
    from scipy.stats import norm

    scores = check_probabilities(probabilities, calibration.classes)
    found = _expect_auc(scores, calibrate(scores, calibration.curves))
    if found is None:
        return None
    auc, variance = found
    reach = float(
        norm.ppf(0.5 + confidence / 2)
        * np.sqrt(variance + _variance_of_calibration(scores, calibration, seed))
    )
    return Estimate(auc, max(0.0, auc - reach), min(1.0, auc + reach), len(scores))


def _expect_auc(scores: Floats, expected: Floats) -> tuple[float, float] | None:
    """AUC when row i is of class k with probability expected[i, k], and its variance.

    None when a class has fewer than two such rows.
    """
    if len(scores) < 2 or expected.sum(axis=0).min() < 2:
        return None
    asked = positive_columns(scores.shape[1])
    parts = [_expect_class(scores[:, column], expected[:, column]) for column in asked]
    slopes = np.column_stack([slope for _, slope in parts]) / len(parts)
    likely = expected[:, asked]
    # Each row draws one class: the variance of a categorical variable whose values are the slopes.
    variance = (likely * np.square(slopes)).sum(axis=1) - np.square((likely * slopes).sum(axis=1))
    return sum(auc for auc, _ in parts) / len(parts), float(variance.clip(min=0).sum())


def _expect_class(scores: Floats, expected: Floats) -> tuple[float, Floats]:
    """Expected pairs won over expected pairs, and how far each row's label moves that, shape (n,).

    One sort. A row is never paired with itself: it takes its own half of a positive and half of a
    negative out of the sums.
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
    if len(scores) > MOST_ROWS:
        scores = scores[np.random.default_rng(seed).choice(len(scores), MOST_ROWS, replace=False)]
    found = [_expect_auc(scores, calibrate(scores, curves)) for curves in calibration.redrawn]
    values = [expected[0] for expected in found if expected is not None]
    return float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
