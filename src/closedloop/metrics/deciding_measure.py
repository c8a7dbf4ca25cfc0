"""The measure that decides, of one model and of two on the same rows, with confidence intervals.

Labels, probabilities and intervals are as in `metrics.auc`, and so is the form: a value of which
more is better, and for each row a number psi that says how far the row moves it. All psi sum to 0
and the variance of the value is sum(psi^2) / n^2, so two models on the same rows differ by the
difference of their psi, whatever the measure.

Log loss, Brier score and cost are means over rows: psi is a row's loss minus the mean, and the
interval of a difference is that of paired means. Average precision depends on the ranking of all
rows; its psi is the influence function of `mean over positives of the precision at their score`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from closedloop.decisions.deciding_measure import Measured
from closedloop.decisions.evidence import Estimate
from closedloop.decisions.policy import PromotionPolicy
from closedloop.metrics.auc import (
    Influence,
    Labels,
    Probabilities,
    auc_influence,
    check_shapes,
    positive_columns,
)
from closedloop.metrics.clustering import count_rarest, interval_of, standard_error
from closedloop.metrics.threshold import answer_classes, least_cost_threshold
from closedloop.windows.groups import Groups

# A certain and wrong answer costs 34.5 in log loss, not infinity.
SMALLEST_PROBABILITY = 1e-15
Losses = Callable[[Labels, Probabilities], NDArray[np.float64]]


def influence_of(rules: PromotionPolicy) -> Influence:
    """The measure that decides, as value and psi of every row."""
    if rules.measure == "roc_auc":
        return auc_influence
    if rules.measure == "average_precision":
        return _average_precision
    losses: dict[str, Losses] = {
        "log_loss": log_losses,
        "brier": brier_losses,
        "cost": partial(cost_losses, cost=np.asarray(rules.cost)),
    }
    return partial(_mean_loss, losses=losses[rules.measure])


def estimate_measure(
    labels: Labels,
    probabilities: Probabilities,
    rules: PromotionPolicy,
    groups: Groups | None = None,
) -> Estimate | None:
    """The measure with its interval, turned so that more is better.

    None when a class has fewer than two rows, or is in fewer than two groups.
    """
    check_shapes(labels, probabilities)
    if count_rarest(labels, probabilities.shape[1], groups) < 2:
        return None
    value, psi = influence_of(rules)(labels, probabilities)
    return interval_of(value, psi, rules.confidence, labels, groups)


def measure_candidate(
    labels: Labels,
    probabilities: Probabilities,
    rules: PromotionPolicy,
    groups: Groups | None = None,
) -> Measured | None:
    """What a version keeps of the measure; None when AUC decides or a class has too few rows."""
    if rules.measure == "roc_auc" or count_rarest(labels, probabilities.shape[1], groups) < 2:
        return None
    value, psi = influence_of(rules)(labels, probabilities)
    return Measured(rules.measure, value, standard_error(psi, groups))


def log_losses(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Log loss of each row."""
    given = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(given, SMALLEST_PROBABILITY, 1.0))


def brier_losses(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Squared differences of each row, summed over classes (Brier 1950).

    With two classes the usual half: (probability of the positive class - outcome)^2.
    """
    squares = np.square(probabilities - np.eye(probabilities.shape[1])[labels])
    return np.asarray(squares[:, 1] if probabilities.shape[1] == 2 else squares.sum(axis=1))


def cost_losses(
    labels: Labels, probabilities: Probabilities, cost: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cost of each row when it is answered as the service answers it.

    `cost` has a row a true class and a column an answer. Of two classes the answer is that of the
    least expected cost, of more the likeliest.
    """
    return np.asarray(
        cost[labels, answer_classes(probabilities, least_cost_threshold(cost.tolist()))]
    )


def _mean_loss(
    labels: Labels, probabilities: Probabilities, losses: Losses
) -> tuple[float, NDArray[np.float64]]:
    """The mean loss, turned so that more is better."""
    gains = -losses(labels, probabilities)
    mean, rows = float(gains.mean()), len(gains)
    return mean, (gains - mean) * np.sqrt(rows / (rows - 1))


def _average_precision(
    labels: Labels, probabilities: Probabilities
) -> tuple[float, NDArray[np.float64]]:
    """Average precision, macro one-versus-rest for more than two classes."""
    parts = [
        _average_precision_of(labels == column, probabilities[:, column])
        for column in positive_columns(probabilities.shape[1])
    ]
    return float(np.mean([value for value, _ in parts])), np.mean([psi for _, psi in parts], axis=0)


def _average_precision_of(
    positive: NDArray[np.bool_], scores: Probabilities
) -> tuple[float, NDArray[np.float64]]:
    """Average precision of one score and the psi of every row; equal scores are one threshold.

    With A(s) the share of rows that are positive and not below s, B(s) that of all rows not below
    s, and p the share of positives, it is 1/p times the integral of A/B over the positives. A row
    moves it directly, as a positive with a precision, and through A and B at every threshold up to
    its score; the derivatives by A and B of A/B are 1/B and -A/B^2.
    """
    order = np.argsort(scores, kind="quicksort")
    ranked, hit = scores[order], positive[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    rows, ties = len(scores), np.diff(last, prepend=-1)
    hits_in = np.diff(np.cumsum(hit)[last], prepend=0)
    hits, not_below = int(hits_in.sum()), rows - last - 1 + ties
    precision = np.cumsum(hits_in[::-1])[::-1] / not_below
    value = float((hits_in * precision).sum() / hits)
    by_hits, by_rows = np.cumsum(hits_in / not_below), np.cumsum(hits_in * precision / not_below)
    psi = np.empty(rows)
    psi[order] = (hit * np.repeat(precision - value + by_hits, ties) - np.repeat(by_rows, ties)) * (
        rows / hits
    )
    return value, psi
