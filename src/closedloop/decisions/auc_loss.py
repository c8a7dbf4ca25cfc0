"""Has production lost AUC? What it realised on a window, against what it was promoted with.

Where another measure decides, that measure takes the place of AUC.
"""

from __future__ import annotations

from math import hypot
from statistics import NormalDist

from closedloop.decisions.deciding_measure import ROC_AUC, read_measured
from closedloop.decisions.evidence import Estimate, RetrainingEvidence
from closedloop.decisions.policy import Policy


def realised_in_measure(evidence: RetrainingEvidence, policy: Policy) -> Estimate | None:
    """What production realised on this window, in the measure that decides; None without labels."""
    return evidence.realised_auc if policy.promotion.measure == ROC_AUC else evidence.realised


def _expected(evidence: RetrainingEvidence, policy: Policy) -> tuple[float | None, float | None]:
    """What production was promoted with, and its standard error."""
    state = evidence.state
    return read_measured(
        policy.promotion.measure, state.expected_auc, state.expected_auc_error, state.expected
    )


def auc_loss(evidence: RetrainingEvidence, policy: Policy) -> float | None:
    """What production was promoted with minus what it realised on this window.

    None without labels or production, or when it was promoted by another measure.
    """
    (expected, _), realised = _expected(evidence, policy), realised_in_measure(evidence, policy)
    return None if expected is None or realised is None else expected - realised.value


def loss_by_chance(evidence: RetrainingEvidence, policy: Policy) -> float | None:
    """The largest loss that chance alone explains, at the confidence of the policy.

    Both AUCs have an error: the realised one, and the val_auc that was measured on other rows
    before the promotion (0 where older versions did not keep it). None without labels.
    """
    realised = realised_in_measure(evidence, policy)
    if realised is None:
        return None
    times = NormalDist().inv_cdf(0.5 + policy.promotion.confidence / 2)
    return hypot(realised.upper - realised.value, times * (_expected(evidence, policy)[1] or 0.0))


def loss_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Is the loss over its limit, and more than chance? None if not measured, or on few rows."""
    loss, chance = auc_loss(evidence, policy), loss_by_chance(evidence, policy)
    realised = realised_in_measure(evidence, policy)
    if realised is None or loss is None or chance is None:
        return None
    if realised.rows < policy.retraining.min_rows:
        return None
    return loss > policy.retraining.max_auc_loss and loss > chance


def tell_loss(evidence: RetrainingEvidence, policy: Policy) -> str:
    """The loss, what chance alone explains, and whether there are too few rows to tell."""
    loss, realised = auc_loss(evidence, policy), realised_in_measure(evidence, policy)
    if loss is None or realised is None:
        return "not measured"
    few = tell_too_few(realised.rows, policy)
    return f"{loss:+.4f}, by chance up to {loss_by_chance(evidence, policy):.4f}{few}"


def tell_too_few(rows: int, policy: Policy) -> str:
    """Why nothing follows from what was measured; empty when there are rows enough."""
    needed = policy.retraining.min_rows
    return f", on {rows} rows, fewer than min_rows = {needed}" if rows < needed else ""
