"""One model on labelled rows -> its scores, and its answers to the golden cases.

Labels are integers 0..k-1 in the order of the use case's classes, probabilities have shape (n, k).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from closedloop.decisions.evidence import ClassScores, GoldenResult, Scores
from closedloop.decisions.policy import PromotionPolicy
from closedloop.errors import ModelError
from closedloop.metrics.auc import (
    Labels,
    Probabilities,
    check_shapes,
    measure_auc,
    measure_auc_error,
)
from closedloop.metrics.calibration_error import measure_calibration_error
from closedloop.metrics.clustering import count_rarest
from closedloop.metrics.deciding_measure import brier_losses, log_losses, measure_candidate
from closedloop.metrics.threshold import answer_classes
from closedloop.use_case.contract import GoldenCase
from closedloop.windows.groups import Groups

_USUAL = PromotionPolicy()


def score_model(
    labels: Labels,
    probabilities: Probabilities,
    classes: Sequence[str],
    window: str,
    rules: PromotionPolicy = _USUAL,
    threshold: float | None = None,
    groups: Groups | None = None,
) -> Scores:
    """How one model did on one labelled window.

    The answer is the likeliest class, or the second of two from a `threshold` on. `rules` say which
    measure decides; `groups` are the numbers of the rows' groups, None for independent rows. Raises
    ModelError when there is no row.
    """
    check_shapes(labels, probabilities)
    count, rows = len(classes), len(labels)
    if not rows or probabilities.shape[1] != count:
        raise ModelError(
            where=f"scores on {window}",
            wanted=f"at least one labelled row and {count} classes",
            got=f"{rows} rows, {probabilities.shape[1]} classes",
            then="wait for labels",
        )
    predicted = answer_classes(probabilities, threshold)
    confusion = np.bincount(labels * count + predicted, minlength=count * count).reshape(
        count, count
    )
    per_class = []
    for place, label in enumerate(classes):
        right = int(confusion[place, place])
        actual, claimed = int(confusion[place].sum()), int(confusion[:, place].sum())
        precision, recall = _ratio(right, claimed), _ratio(right, actual)
        f1 = _ratio(2 * right, actual + claimed)
        per_class.append(ClassScores(label, precision, recall, f1, actual))
    return Scores(
        window=window,
        rows=rows,
        val_auc=measure_auc(labels, probabilities),
        accuracy=int(np.trace(confusion)) / rows,
        log_loss=float(log_losses(labels, probabilities).mean()),
        brier=float(brier_losses(labels, probabilities).mean()),
        classes=tuple(per_class),
        confusion=tuple(tuple(int(cell) for cell in line) for line in confusion),
        val_auc_error=measure_auc_error(labels, probabilities, groups),
        measured=measure_candidate(labels, probabilities, rules, groups),
        calibration_error=measure_calibration_error(labels, probabilities),
        groups=None if groups is None else count_rarest(labels, count, groups),
    )


def _ratio(part: int, whole: int) -> float:
    """0 when `whole` is 0: a class that was never predicted has precision 0, not an unknown one."""
    return part / whole if whole else 0.0


def check_golden(
    cases: Sequence[GoldenCase], probabilities: Probabilities, classes: Sequence[str]
) -> tuple[GoldenResult, ...]:
    """Compare the answers, one row of `probabilities` per case, with the bounds of each case.

    An answer that is not a number fails.
    """
    results = []
    for case, row in zip(cases, probabilities, strict=True):
        answer = float(row[list(classes).index(case.label)])
        wanted = f"probability of {case.label} from {case.minimum:g} to {case.maximum:g}"
        results.append(
            GoldenResult(case.name, case.minimum <= answer <= case.maximum, wanted, f"{answer:.4f}")
        )
    return tuple(results)
