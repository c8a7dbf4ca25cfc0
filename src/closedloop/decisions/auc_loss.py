"""Has production lost AUC? What it realised on a window, against what it was promoted with."""

from __future__ import annotations

from math import hypot
from statistics import NormalDist

from closedloop.decisions.evidence import RetrainingEvidence
from closedloop.decisions.policy import Policy


def auc_loss(evidence: RetrainingEvidence) -> float | None:
    """The AUC that production was promoted with minus the AUC it realised on this window.

    None without labels or production.
    """
    expected, realised = evidence.state.expected_auc, evidence.realised_auc
    return None if expected is None or realised is None else expected - realised.value


def loss_by_chance(evidence: RetrainingEvidence, policy: Policy) -> float | None:
    """The largest AUC loss that chance alone explains, at the confidence of the policy.

    Both AUCs have an error: the realised one, and the val_auc that was measured on other rows
    before the promotion (0 where older versions did not keep it). None without labels.
    """
    realised = evidence.realised_auc
    if realised is None:
        return None
    times = NormalDist().inv_cdf(0.5 + policy.promotion.confidence / 2)
    expected_error = evidence.state.expected_auc_error or 0.0
    return hypot(realised.upper - realised.value, times * expected_error)


def loss_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Is the loss over its limit, and more than chance? None if not measured, or on few rows."""
    loss, chance = auc_loss(evidence), loss_by_chance(evidence, policy)
    if evidence.realised_auc is None or loss is None or chance is None:
        return None
    if evidence.realised_auc.rows < policy.retraining.min_rows:
        return None
    return loss > policy.retraining.max_auc_loss and loss > chance


def tell_too_few(rows: int, policy: Policy) -> str:
    """Why nothing follows from what was measured; empty when there are rows enough."""
    needed = policy.retraining.min_rows
    return f", on {rows} rows, fewer than min_rows = {needed}" if rows < needed else ""
