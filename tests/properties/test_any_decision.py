"""What holds of every decision, and of `decide_rollback` and `is_quarantined`, whatever the evidence."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from closedloop.checks import Action
from closedloop.decisions import decide_promotion, decide_retraining, decide_rollback, is_quarantined
from closedloop.evidence import RollbackEvidence
from closedloop.policy import Policy, QuarantinePolicy
from tests.properties.evidence_strategies import policies, promotion_evidence, retraining_evidence, rollback_evidence

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


@given(rollback_evidence, policies, st.floats(0, 0.5))
def test_a_better_production_is_never_taken_back_sooner(evidence: RollbackEvidence, policy: Policy, gain: float) -> None:
    """Production that does better than in evidence that kept it is kept."""
    if evidence.delta is not None and decide_rollback(evidence, policy).action is Action.KEEP:
        delta = evidence.delta
        better = replace(delta, value=delta.value + gain, lower=delta.lower + gain, upper=delta.upper + gain)
        assert decide_rollback(replace(evidence, delta=better), policy).action is Action.KEEP


@given(rollback_evidence, policies, st.sampled_from(["delta", "previous", "promoted_at"]))
def test_a_blank_never_takes_production_back(evidence: RollbackEvidence, policy: Policy, part: str) -> None:
    """Without a delta, a version to go back to or the time of the promotion, production stays."""
    less = replace(evidence, delta=None) if part == "delta" else replace(evidence, state=replace(evidence.state, **{part: None}))
    assert decide_rollback(less, policy).action is Action.KEEP


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=6).map(tuple), st.floats(0, 1), st.integers(1, 4), st.floats(0, 1))
def test_a_better_window_is_never_quarantined_sooner(auc: float, earlier: tuple[float, ...], drop: float, memory: int, gain: float) -> None:
    """A window that was trusted is trusted with a higher AUC, and nothing is kept out before the memory is full."""
    policy = QuarantinePolicy(max_auc_drop=drop, memory_windows=memory)
    if not is_quarantined(auc, earlier, policy):
        assert not is_quarantined(auc + gain, earlier, policy)
    if len(earlier) < memory:
        assert not is_quarantined(auc, earlier, policy)
