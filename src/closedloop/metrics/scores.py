"""Model and labelled rows -> scores; two models on the same rows -> delta with its confidence
interval.

Labels are integers 0..k-1 in the order of the use case's classes, probabilities have shape (n, k),
n rows and k classes. With two classes the second one is positive; with more, every AUC is macro
one-versus-rest. More is better in all that is estimated.

The interval of an AUC is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837) in
its influence form: each row gets a number psi that says how far it moves the AUC, all of them sum
to 0, and the variance is sum(psi^2) / n^2. Two models on the same rows differ by psi of the one
minus psi of the other, and the macro average over classes is an average of psi, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from closedloop.decisions.evidence import (
    ClassScores,
    Comparison,
    Estimate,
    GoldenResult,
    Scores,
    SliceDelta,
)
from closedloop.errors import ModelError
from closedloop.use_case.contract import GoldenCase, Slice

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]

_SMALLEST_PROBABILITY = 1e-15  # a certain and wrong answer costs 34.5 in log-loss, not infinity


def _check_shapes(labels: Labels, probabilities: Probabilities) -> None:
    """Raises ModelError when rows do not match, a probability is not a number, or a label has no
    column."""
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


def _influence(
    positive: NDArray[np.bool_], scores: Probabilities
) -> tuple[float, NDArray[np.float64]]:
    """AUC of one score and the psi of every row, shape (n,), sum 0. Needs two rows of either kind
    for psi to have a spread.

    A positive moves the AUC by the share of negatives below it, a negative by the share of
    positives above it, ties counting half. The factor sqrt(m / (m - 1)) makes the variance the
    unbiased one of the textbook.
    """
    # Equal scores may come in any order, for only whole runs of them are counted: the quickest sort
    # will do (docs/decisions.md).
    order = np.argsort(scores, kind="quicksort")
    ranked, hit = scores[order], positive[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    hits_through = np.cumsum(hit)[last]
    misses_through = last + 1 - hits_through
    ties, hits_in = np.diff(last, prepend=-1), np.diff(hits_through, prepend=0)
    hits, misses = int(hits_through[-1]), int(misses_through[-1])
    # Twice the counts are whole numbers, so the AUC is rounded once, whatever the order of the
    # rows.
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


def _columns(classes: int) -> list[int]:
    """The one-versus-rest questions that are averaged: only the positive class when there are
    two."""
    return [1] if classes == 2 else list(range(classes))


def _macro(labels: Labels, probabilities: Probabilities) -> tuple[float, NDArray[np.float64]]:
    parts = [
        _influence(labels == one, np.ascontiguousarray(probabilities[:, one]))
        for one in _columns(probabilities.shape[1])
    ]
    return sum(auc for auc, _ in parts) / len(parts), np.mean([psi for _, psi in parts], axis=0)


def _rarest(labels: Labels, classes: int) -> int:
    return int(np.bincount(labels, minlength=classes).min())


def _interval(value: float, psi: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    reach = float(norm.ppf(0.5 + confidence / 2) * np.sqrt(np.square(psi).sum()) / len(psi))
    return value - reach, value + reach


def measure_auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """ROC AUC, 0 to 1; None when a class has no row."""
    _check_shapes(labels, probabilities)
    if _rarest(labels, probabilities.shape[1]) < 1:
        return None
    return _macro(labels, probabilities)[0]


def estimate_auc(
    labels: Labels, probabilities: Probabilities, confidence: float
) -> Estimate | None:
    """ROC AUC with its interval, kept inside 0 to 1; None when a class has fewer than two rows.

    Rows that are separated perfectly show no spread, so their interval has no width however few
    they are: ask for enough rows.
    """
    _check_shapes(labels, probabilities)
    if _rarest(labels, probabilities.shape[1]) < 2:
        return None
    auc, psi = _macro(labels, probabilities)
    lower, upper = _interval(auc, psi, confidence)
    return Estimate(auc, max(0.0, lower), min(1.0, upper), len(labels))


def measure_delta(
    labels: Labels, candidate: Probabilities, production: Probabilities, confidence: float
) -> Estimate | None:
    """Candidate's AUC minus production's on the same rows, with its paired interval; None when a
    class has fewer than two rows.

    The same probabilities twice give exactly 0 with an interval of no width; swapping the two
    negates everything.
    """
    _check_shapes(labels, candidate)
    _check_shapes(labels, production)
    if candidate.shape != production.shape:
        raise ModelError(
            where="scoring",
            wanted="two models of the same classes",
            got=f"shapes {candidate.shape} and {production.shape}",
            then="retrain production on today's classes",
        )
    if _rarest(labels, candidate.shape[1]) < 2:
        return None
    (ours, psi_ours), (theirs, psi_theirs) = _macro(labels, candidate), _macro(labels, production)
    value = ours - theirs
    return Estimate(value, *_interval(value, psi_ours - psi_theirs, confidence), len(labels))


def _ratio(part: int, whole: int) -> float:
    """0 when there is nothing to divide by: a class that was never predicted has precision 0, not
    an unknown one."""
    return part / whole if whole else 0.0


def score_model(
    labels: Labels, probabilities: Probabilities, classes: Sequence[str], window: str
) -> Scores:
    """How one model did on one labelled window; the likeliest class is the predicted one.

    `brier` is the mean over rows of the squared differences, summed over classes (Brier 1950); with
    two classes the half of it that everybody quotes, the mean of (probability of the positive class
    - outcome)^2. Raises ModelError when there is no row.
    """
    _check_shapes(labels, probabilities)
    count, rows = len(classes), len(labels)
    if not rows or probabilities.shape[1] != count:
        raise ModelError(
            where=f"scores on {window}",
            wanted=f"at least one labelled row and {count} classes",
            got=f"{rows} rows, {probabilities.shape[1]} classes",
            then="wait for labels",
        )
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * count + predicted, minlength=count * count).reshape(
        count, count
    )
    per_class = []
    for one, label in enumerate(classes):
        right, actual, claimed = (
            int(confusion[one, one]),
            int(confusion[one].sum()),
            int(confusion[:, one].sum()),
        )
        per_class.append(
            ClassScores(
                label,
                _ratio(right, claimed),
                _ratio(right, actual),
                _ratio(2 * right, actual + claimed),
                actual,
            )
        )
    given = np.clip(probabilities[np.arange(rows), labels], _SMALLEST_PROBABILITY, 1.0)
    squares = np.square(probabilities - np.eye(count)[labels])
    return Scores(
        window=window,
        rows=rows,
        val_auc=measure_auc(labels, probabilities),
        accuracy=int(np.trace(confusion)) / rows,
        log_loss=float(-np.log(given).mean()),
        brier=float(squares[:, 1].mean() if count == 2 else squares.sum(axis=1).mean()),
        classes=tuple(per_class),
        confusion=tuple(tuple(int(cell) for cell in line) for line in confusion),
    )


def slice_rows(frame: pd.DataFrame, one: Slice) -> NDArray[np.bool_]:
    """Which rows of a prepared frame belong to the slice, shape (n,). A null belongs to no numeric
    slice."""
    column = frame[one.column]
    if one.values:
        return column.isin(one.values).to_numpy(dtype=bool)
    value = column.to_numpy(dtype=float)
    low, high = (
        (-np.inf if one.minimum is None else one.minimum),
        (np.inf if one.maximum is None else one.maximum),
    )
    return np.asarray((value >= low) & (value < high))


def measure_slices(
    frame: pd.DataFrame,
    slices: Sequence[Slice],
    labels: Labels,
    candidate: Probabilities,
    production: Probabilities,
    confidence: float,
) -> tuple[SliceDelta, ...]:
    """Candidate against production on every slice, at confidence 1 - (1 - confidence) / m
    (Bonferroni).

    m counts the protected slices for a protected one, the others for another: what only informs
    must not make a gate more lenient. Why correct: each slice is one more chance to look harmed by
    luck. At 95 % a harmless candidate fails one slice in 2.5 % of the comparisons, but one of ten
    in up to 22 %, and a gate that cries wolf gets switched off. The price is that the smallest harm
    that is likely to be seen grows by about a third with ten slices: protect the few that matter.
    Why not Holm: one harmed slice closes the gate, and Holm finds a first one exactly when
    Bonferroni does, but has no interval to show.
    """
    found = []
    for one in slices:
        family = sum(other.protected == one.protected for other in slices)
        rows = slice_rows(frame, one)
        delta = measure_delta(
            labels[rows], candidate[rows], production[rows], 1 - (1 - confidence) / family
        )
        found.append(
            SliceDelta(
                one.name,
                one.protected,
                int(rows.sum()),
                _rarest(labels[rows], candidate.shape[1]),
                delta,
            )
        )
    return tuple(found)


def _unmeasured_slices(
    frame: pd.DataFrame, slices: Sequence[Slice], labels: Labels, classes: int
) -> tuple[SliceDelta, ...]:
    chosen = [(one, slice_rows(frame, one)) for one in slices]
    return tuple(
        SliceDelta(one.name, one.protected, int(rows.sum()), _rarest(labels[rows], classes), None)
        for one, rows in chosen
    )


def compare(
    *,
    recipe: str,
    window: str,
    frame: pd.DataFrame,
    labels: Labels,
    classes: Sequence[str],
    slices: Sequence[Slice],
    candidate: Probabilities,
    production: Probabilities | None,
    baseline_auc: float,
    held_out: bool,
    same_recipe: bool,
    confidence: float,
    history: str = "all",
) -> Comparison:
    """One candidate and production on the same rows. Without production there is no delta and every
    slice's delta is None."""
    if production is None:
        parts = _unmeasured_slices(frame, slices, labels, len(classes))
    else:
        parts = measure_slices(frame, slices, labels, candidate, production, confidence)
    return Comparison(
        recipe=recipe,
        window=window,
        candidate=score_model(labels, candidate, classes, window),
        baseline_auc=baseline_auc,
        held_out=held_out,
        same_recipe=same_recipe,
        production=None if production is None else score_model(labels, production, classes, window),
        delta=None
        if production is None
        else measure_delta(labels, candidate, production, confidence),
        slices=parts,
        history=history,
    )


def check_golden(
    cases: Sequence[GoldenCase], probabilities: Probabilities, classes: Sequence[str]
) -> tuple[GoldenResult, ...]:
    """Hold the answers, one row of `probabilities` a case, against what each case demands. An
    answer that is not a number fails."""
    results = []
    for case, row in zip(cases, probabilities, strict=True):
        answer = float(row[list(classes).index(case.label)])
        wanted = f"probability of {case.label} from {case.minimum:g} to {case.maximum:g}"
        results.append(
            GoldenResult(case.name, case.minimum <= answer <= case.maximum, wanted, f"{answer:.4f}")
        )
    return tuple(results)
