"""Which of several candidates on the same rows is put before the gates."""

from __future__ import annotations

from math import inf

from closedloop.decisions.deciding_measure import read_measured
from closedloop.decisions.evidence import Comparison
from closedloop.decisions.policy import Policy


def allowed_by_delta(comparison: Comparison, policy: Policy) -> bool | None:
    """Not significantly worse for production's own recipe, significantly better for another.

    None when unmeasured.
    """
    if comparison.delta is None:
        return None
    if comparison.same_recipe:
        return comparison.delta.upper >= -policy.promotion.max_loss
    return comparison.delta.lower > policy.promotion.min_delta


def choose_candidate(comparisons: tuple[Comparison, ...], policy: Policy) -> Comparison | None:
    """The best candidate that its own delta rule allows.

    Failing that production's recipe, failing that the best.

    All comparisons are on the same rows; a candidate on `recent` history counts for
    `min_recent_gain` less, one on `newest` for `min_newest_gain`. None when nothing was compared.
    """

    rules = policy.promotion
    needed = {"recent": rules.min_recent_gain, "newest": rules.min_newest_gain}

    def rank(comparison: Comparison) -> tuple[float, str]:
        handicap = needed.get(comparison.history, 0.0)
        scores = comparison.candidate
        reached = read_measured(
            policy.promotion.measure, scores.val_auc, scores.val_auc_error, scores.measured
        )[0]
        return handicap - (-inf if reached is None else reached), comparison.recipe

    ranked = sorted(comparisons, key=rank)
    for comparison in ranked:
        if comparison.production is None or allowed_by_delta(comparison, policy):
            return comparison
    own_recipe = (comparison for comparison in ranked if comparison.same_recipe)
    return next(own_recipe, ranked[0] if ranked else None)
