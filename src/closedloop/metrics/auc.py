"""AUC of one model, and of two on the same rows, with confidence intervals.

Labels are integers 0..k-1 in the order of the use case's classes, probabilities have shape (n, k),
n rows and k classes. With two classes the second one is positive; with more, every AUC is macro
one-versus-rest. More is better in everything that is estimated.

The interval of an AUC is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837) in
its influence form: each row gets a number psi that says how far it moves the AUC, all of them sum
to 0, and the variance is sum(psi^2) / n^2. Two models on the same rows differ by the difference of
their psi, and the macro average over classes is an average of psi, row by row. Where rows belong
together, `metrics.clustering` says what becomes of the variance: every function here that takes
`groups` takes the number of each row's group, shape (n,), and None for rows that are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.decisions.evidence import Estimate
from closedloop.errors import ModelError
from closedloop.metrics.clustering import count_rarest, interval_of, standard_error
from closedloop.windows.groups import Groups

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]
# A measure of one model: its value, more is better, and the psi of every row.
Influence = Callable[[Labels, Probabilities], tuple[float, NDArray[np.float64]]]


def check_shapes(labels: Labels, probabilities: Probabilities) -> None:
    """Raises ModelError when rows do not match, or a probability or a label is out of range."""
    shape = probabilities.shape
    if probabilities.ndim != 2 or shape[1] < 2 or shape[0] != len(labels):
        got, then = f"shape {shape}", "score a model that was fitted on the same classes"
    elif not np.isfinite(probabilities).all():
        got, then = (
            "probabilities that are not finite",
            "look for rows that the model cannot answer",
        )
    elif len(labels) and not (labels.min() >= 0 and labels.max() < shape[1]):
        got, then = (
            f"labels {labels.min()} to {labels.max()} for {shape[1]} classes",
            "number the labels in the order of the classes",
        )
    else:
        return
    raise ModelError(
        where="scoring",
        wanted=f"finite probabilities for {len(labels)} rows, one column a class",
        got=got,
        then=then,
    )


def measure_auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """ROC AUC, 0 to 1; None when a class has no row."""
    check_shapes(labels, probabilities)
    if count_rarest(labels, probabilities.shape[1]) < 1:
        return None
    return auc_influence(labels, probabilities)[0]


def measure_auc_error(
    labels: Labels, probabilities: Probabilities, groups: Groups | None = None
) -> float | None:
    """Standard error of the ROC AUC; None when a class has fewer than two rows, or groups."""
    check_shapes(labels, probabilities)
    if count_rarest(labels, probabilities.shape[1], groups) < 2:
        return None
    return standard_error(auc_influence(labels, probabilities)[1], groups)


def estimate_auc(
    labels: Labels, probabilities: Probabilities, confidence: float, groups: Groups | None = None
) -> Estimate | None:
    """ROC AUC with its interval, clipped to 0 to 1.

    None when a class has fewer than two rows, or is in fewer than two groups. Perfectly separated
    rows show no spread, so their interval has no width however few they are: require enough rows.
    """
    check_shapes(labels, probabilities)
    if count_rarest(labels, probabilities.shape[1], groups) < 2:
        return None
    auc, psi = auc_influence(labels, probabilities)
    found = interval_of(auc, psi, confidence, labels, groups)
    return replace(found, lower=max(0.0, found.lower), upper=min(1.0, found.upper))


def measure_delta(
    labels: Labels,
    candidate: Probabilities,
    production: Probabilities,
    confidence: float,
    influence: Influence | None = None,
    groups: Groups | None = None,
) -> Estimate | None:
    """Candidate minus production on the same rows, with its paired interval.

    In AUC, or in the measure that `influence` computes.

    None when a class has fewer than two rows, or is in fewer than two groups. The same
    probabilities twice give exactly 0 with an interval of no width; swapping the two negates
    everything.
    """
    check_shapes(labels, candidate)
    check_shapes(labels, production)
    if candidate.shape != production.shape:
        raise ModelError(
            where="scoring",
            wanted="two models of the same classes",
            got=f"shapes {candidate.shape} and {production.shape}",
            then="retrain production on the current classes",
        )
    if count_rarest(labels, candidate.shape[1], groups) < 2:
        return None
    measure = influence or auc_influence
    (ours, psi_ours), (theirs, psi_theirs) = measure(labels, candidate), measure(labels, production)
    return interval_of(ours - theirs, psi_ours - psi_theirs, confidence, labels, groups)


def positive_columns(classes: int) -> list[int]:
    """The classes whose one-versus-rest AUCs are averaged: only the second when there are two."""
    return [1] if classes == 2 else list(range(classes))


def auc_influence(
    labels: Labels, probabilities: Probabilities
) -> tuple[float, NDArray[np.float64]]:
    """ROC AUC and the psi of every row; every class needs a row."""
    parts = [
        _influence(labels == column, np.ascontiguousarray(probabilities[:, column]))
        for column in positive_columns(probabilities.shape[1])
    ]
    return sum(auc for auc, _ in parts) / len(parts), np.mean([psi for _, psi in parts], axis=0)


def _influence(
    positive: NDArray[np.bool_], scores: Probabilities
) -> tuple[float, NDArray[np.float64]]:
    """AUC of one score and the psi of every row, shape (n,), sum 0.

    Psi has a spread only with two positives and two negatives or more.

    A positive moves the AUC by the share of negatives below it, a negative by the share of
    positives above it, ties counting half. The factor sqrt(m / (m - 1)) makes the variance the
    unbiased one of the textbook.
    """
    # Equal scores may come in any order, because only whole runs of them are counted: the quickest
    # sort will do (docs/decisions.md).
    order = np.argsort(scores, kind="quicksort")
    ranked, hit = scores[order], positive[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    hits_through = np.cumsum(hit)[last]
    misses_through = last + 1 - hits_through
    ties, hits_in = np.diff(last, prepend=-1), np.diff(hits_through, prepend=0)
    hits, misses = int(hits_through[-1]), int(misses_through[-1])
    # Twice the counts are whole numbers, so the AUC is rounded once, whatever the order of rows.
    misses_below_twice = 2 * misses_through - ties + hits_in
    hits_above_twice = 2 * (hits - hits_through) + hits_in
    auc = int((hits_in * misses_below_twice).sum()) / (2 * hits * misses)
    of_hits = (misses_below_twice / (2 * misses) - auc) * (
        len(scores) / hits * np.sqrt(hits / max(hits - 1, 1))
    )
    of_misses = (hits_above_twice / (2 * hits) - auc) * (
        len(scores) / misses * np.sqrt(misses / max(misses - 1, 1))
    )
    psi = np.empty(len(scores))
    psi[order] = np.where(hit, np.repeat(of_hits, ties), np.repeat(of_misses, ties))
    return auc, psi
