"""What losses of production are measured against, and whether a promotion lowers it."""

from __future__ import annotations

from math import hypot
from statistics import NormalDist

from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.deciding_measure import MEASURES, ROC_AUC, read_measured
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.policy import Policy


def reference_falls(
    before: float | None,
    before_error: float | None,
    after: float | None,
    after_error: float | None,
    confidence: float,
) -> bool:
    """Whether a value is significantly below the one before; False where either is unknown.

    Each was measured on a window of its own. An unknown standard error counts as 0.
    """
    if before is None or after is None:
        return False
    times = NormalDist().inv_cdf(0.5 + confidence / 2)
    return before - after > times * hypot(before_error or 0.0, after_error or 0.0)


def tell_fall(before: float, after: float, measure: str = ROC_AUC) -> str:
    """The fall in a sentence, for the promotion and for `closedloop status`."""
    known = MEASURES[measure]
    return (
        f"what losses are measured against {'rises' if known.loss else 'falls'} from "
        f"{known.turn(before):.4f} to {known.turn(after):.4f}: the data became "
        "harder, or something is wrong that no retraining mends"
    )


def reference_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> tuple[Check, ...]:
    """Tells when production would have been promoted with significantly less than its predecessor.

    It closes no gate: where nothing better can be had, the best there is should answer. Losses are
    measured against the lower value from then on, and that must not happen without a word.
    """
    measure, scores = policy.promotion.measure, comparison.candidate
    before, before_error = read_measured(
        measure, evidence.expected_auc, evidence.expected_auc_error, evidence.expected
    )
    after, after_error = read_measured(
        measure, scores.val_auc, scores.val_auc_error, scores.measured
    )
    if before is None or after is None:
        return ()
    if not reference_falls(before, before_error, after, after_error, policy.promotion.confidence):
        return ()
    known = MEASURES[measure]
    words = "val_auc" if measure == ROC_AUC else known.words
    return (
        make_check(
            "what losses are measured against falls",
            True,
            Role.NOTE,
            f"significantly worse than the {words} of version {evidence.production}, "
            f"{known.turn(before):.4f}",
            f"{known.turn(after):.4f}",
            summary=tell_fall(before, after, measure),
            headline=True,
        ),
    )
