"""What holds of every decision, and of `decide_rollback` and `decide_quarantine`, whatever the
evidence."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from closedloop.decisions.checks import Action
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.quarantine import decide_quarantine
from closedloop.decisions.quarantine_policy import QuarantinePolicy
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from closedloop.decisions.rollback_evidence import RollbackEvidence
from tests.properties.evidence_strategies import (
    policies,
    promotion_evidence,
    retraining_evidence,
    rollback_evidence,
)
from tests.spec.examples import quarantine

cases = st.one_of(
    st.tuples(st.just(decide_retraining), retraining_evidence() | retraining_evidence(broken=True)),
    st.tuples(st.just(decide_promotion), promotion_evidence()),
    st.tuples(st.just(decide_rollback), rollback_evidence),
)


@given(cases, policies)
def test_the_same_evidence_gives_the_same_decision(case: tuple[Any, Any], policy: Policy) -> None:
    """Evidence and policy that went through another process decide alike, check by check."""
    decide, evidence = case
    again = decide(pickle.loads(pickle.dumps(evidence)), pickle.loads(pickle.dumps(policy)))
    assert again == decide(evidence, policy)


@given(cases, policies)
def test_no_other_action_follows_from_the_checks(case: tuple[Any, Any], policy: Policy) -> None:
    """Whoever makes a rejection a promotion, or a stay a rollback, is found out by its checks."""
    decide, evidence = case
    decision = decide(evidence, policy)
    assert decision.follows
    moves = {decide_promotion: Action.PROMOTE, decide_rollback: Action.ROLLBACK}
    if decide in moves:
        moved = replace(decision, action=moves[decide])
        assert moved.follows == (decision.action is moved.action)


@given(rollback_evidence, policies, st.floats(0, 0.5))
def test_a_better_production_is_never_taken_back_sooner(
    evidence: RollbackEvidence, policy: Policy, gain: float
) -> None:
    """Production that does better than in evidence that kept it is kept."""
    if evidence.delta is not None and decide_rollback(evidence, policy).action is Action.KEEP:
        delta = evidence.delta
        better = replace(
            delta, value=delta.value + gain, lower=delta.lower + gain, upper=delta.upper + gain
        )
        assert decide_rollback(replace(evidence, delta=better), policy).action is Action.KEEP


@given(rollback_evidence, policies, st.sampled_from(["delta", "previous", "promoted_at"]))
def test_a_blank_never_takes_production_back(
    evidence: RollbackEvidence, policy: Policy, part: str
) -> None:
    """Without a delta, a version to go back to or the time of the promotion, production stays."""
    less = (
        replace(evidence, delta=None)
        if part == "delta"
        else replace(evidence, state=replace(evidence.state, **{part: None}))
    )
    assert decide_rollback(less, policy).action is Action.KEEP


@given(
    st.floats(0, 1),
    st.floats(0, 0.3),
    st.lists(st.floats(0, 1), max_size=6).map(tuple),
    st.none() | st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 4),
    st.floats(0, 1),
)
def test_a_better_window_is_never_quarantined_sooner(
    auc: float,
    chance: float,
    earlier: tuple[float, ...],
    expected: float | None,
    drop: float,
    memory: int,
    gain: float,
) -> None:
    """A window that was trusted is trusted with a higher AUC, and nothing is kept out while too
    little is known."""
    policy = Policy(quarantine=QuarantinePolicy(max_auc_drop=drop, memory_windows=memory))

    def trusted(value: float) -> bool:
        evidence = quarantine(value, chance, earlier_aucs=earlier, expected_auc=expected)
        return decide_quarantine(evidence, policy).action is Action.KEEP

    if trusted(auc):
        assert trusted(auc + gain)
    if len(earlier) < memory and expected is None:
        assert trusted(auc)


COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=4)


@given(COUNTS, st.integers(1, 5), st.floats(1, 100))
def test_shares_that_stay_have_not_shifted(counts: list[int], windows: int, odds: float) -> None:
    """The same rows by class as before are believed, whatever the policy, and so is the first
    window of all."""
    policy = Policy(quarantine=QuarantinePolicy(max_odds_ratio=odds))
    for before in ((tuple(counts),) * windows, ()):
        evidence = quarantine(0.80, label_counts=tuple(counts), earlier_label_counts=before)
        assert decide_quarantine(evidence, policy).action is Action.KEEP


@given(
    st.floats(0, 1),
    st.floats(0, 0.3),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2)), max_size=5),
    st.floats(0, 0.2),
    COUNTS,
    COUNTS,
)
def test_doubt_never_keeps_a_window_out(
    auc: float,
    chance: float,
    earlier: list[tuple[float, float]],
    error: float,
    counts: list[int],
    before: list[int],
) -> None:
    """A window that was trusted while all before it was certain is trusted when that has errors of
    its own, and a shift of shares that a third of the rows prove is proved by all of them."""
    sure = quarantine(auc, chance, earlier_aucs=tuple(value for value, _ in earlier))
    unsure = replace(
        sure, earlier_errors=tuple(each for _, each in earlier), expected_auc_error=error
    )
    if decide_quarantine(sure, Policy()).action is Action.KEEP:
        assert decide_quarantine(unsure, Policy()).action is Action.KEEP
    few, many = (
        quarantine(
            0.80,
            label_counts=tuple(times * rows for rows in counts),
            earlier_label_counts=(tuple(times * rows for rows in [*before, 0, 0][: len(counts)]),),
        )
        for times in (1, 3)
    )
    if decide_quarantine(few, Policy()).action is Action.QUARANTINE:
        assert decide_quarantine(many, Policy()).action is Action.QUARANTINE
