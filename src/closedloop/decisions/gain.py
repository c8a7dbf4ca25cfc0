"""Is a training worth its cost? What newer labels would have gained, added up since the last one.

Waiting costs what production misses; a training has a price. To train when what was missed has
reached the price is never worse than twice the best that could have been done in hindsight (ski
rental: Karlin, Manasse, Rudolph and Sleator 1988, Algorithmica 3:79), and where production loses
evenly with age it is the best.
"""

from __future__ import annotations

from closedloop.decisions.checks import Check, Numbers, Role, make_check
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import RetrainingEvidence
from closedloop.decisions.gain_evidence import Gain
from closedloop.decisions.policy import Policy

MISSED = "newer labels would have paid for a training"


def count_gain(gain: Gain, policy: Policy) -> float:
    """What counts of one window's gain: never below 0, and less by the doubt of chance.

    Without that, chance alone would add up to a training on small windows.
    """
    return max(0.0, gain.value - policy.retraining.doubt * gain.error)


def add_up(evidence: RetrainingEvidence, policy: Policy) -> float | None:
    """What was missed since the last training, this window included; None if unknown now."""
    gain = evidence.gain
    if gain is None or gain.rows < policy.retraining.min_rows:
        return None
    before = sum(counted for window, counted in evidence.state.missed if window != gain.on)
    return before + count_gain(gain, policy)


def is_settled(evidence: RetrainingEvidence, policy: Policy) -> bool:
    """Is it known whether a training would pay?

    Not where the gain is unknown, and not where one standard error more would carry what was missed
    over the cost.
    """
    missed, gain, cost = add_up(evidence, policy), evidence.gain, policy.retraining.cost
    if missed is None or gain is None:
        return False
    most = missed - count_gain(gain, policy) + max(0.0, gain.value + gain.error)
    return missed >= cost or most < cost


def gain_check(evidence: RetrainingEvidence, policy: Policy) -> Check:
    """The trigger: what was missed has reached what a training costs."""
    missed, cost, gain = add_up(evidence, policy), policy.retraining.cost, evidence.gain
    measure = MEASURES[policy.promotion.measure].gain
    wanted = f"at least {cost:g} in {measure}, added up over windows"
    limit = Numbers(limit=cost)
    if gain is not None and not gain.rows:
        got = "production knows all labels that were due before"
        return make_check(MISSED, False, Role.TRIGGER, wanted, got, numbers=limit)
    if gain is None or missed is None:
        got = "not measured" if gain is None else f"not on {gain.rows} rows, too few"
        return make_check(MISSED, None, Role.TRIGGER, wanted, got, numbers=limit)
    reached = missed >= cost and missed > 0
    now = f"{gain.value:+.4f} on {gain.on}"
    return make_check(
        MISSED,
        reached,
        Role.TRIGGER,
        wanted,
        f"{missed:.4f} since the last training, {now}",
        summary=f"newer labels would have gained {missed:.4f} {measure} since the last training, "
        f"which costs {cost:g}"
        if reached
        else "",
        numbers=Numbers(missed, cost),
    )
