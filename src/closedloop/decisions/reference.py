"""What losses of production are measured against, and whether a promotion lowers it."""

from __future__ import annotations

from math import hypot
from statistics import NormalDist

from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.policy import Policy


def reference_falls(
    before: float | None,
    before_error: float | None,
    after: float | None,
    after_error: float | None,
    confidence: float,
) -> bool:
    """Whether a val_auc is significantly below the one before; False where either is unknown.

    Each was measured on a window of its own. An unknown standard error counts as 0.
    """
    if before is None or after is None:
        return False
    times = NormalDist().inv_cdf(0.5 + confidence / 2)
    return before - after > times * hypot(before_error or 0.0, after_error or 0.0)


def tell_fall(before: float, after: float) -> str:
    """The fall in a sentence, for the promotion and for `closedloop status`."""
    return (
        f"what losses are measured against falls from {before:.4f} to {after:.4f}: the data became "
        "harder, or something is wrong that no retraining mends"
    )


def reference_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> tuple[Check, ...]:
    """Tells when production's val_auc would be significantly below that of its predecessor.

    It closes no gate: where nothing better can be had, the best there is should answer. Losses are
    measured against the lower value from then on, and that must not happen without a word.
    """
    before, scores = evidence.expected_auc, comparison.candidate
    if before is None or scores.val_auc is None:
        return ()
    if not reference_falls(
        before,
        evidence.expected_auc_error,
        scores.val_auc,
        scores.val_auc_error,
        policy.promotion.confidence,
    ):
        return ()
    return (
        make_check(
            "what losses are measured against falls",
            True,
            Role.NOTE,
            f"significantly below the val_auc of version {evidence.production}, {before:.4f}",
            f"{scores.val_auc:.4f}",
            summary=tell_fall(before, scores.val_auc),
            headline=True,
        ),
    )
