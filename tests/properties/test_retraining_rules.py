"""What holds of one retraining decision, whatever the evidence and the policy."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import assume, given
from hypothesis import strategies as st

from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import RetrainingEvidence
from closedloop.decisions.policy import Policy, RetrainingPolicy
from closedloop.decisions.retraining import decide_retraining
from tests.properties.evidence_strategies import (
    eager,
    policies,
    retraining_evidence,
)
from tests.spec.examples import drifted

# Drift over any limit, since the first window; all trainings that there were promoted nothing.
in_vain = retraining_evidence().map(
    lambda evidence: replace(
        evidence,
        drift=drifted(0.9, 0.9),
        state=replace(evidence.state, production=1, promoted_at=None, drifting_since=0),
    )
)


@given(in_vain, eager)
def test_an_episode_holds_up_nothing_but_drift(
    evidence: RetrainingEvidence, rules: RetrainingPolicy
) -> None:
    """Whatever else asks, age, loss, a person or a production that is gone, is obeyed as if there
    were no drift."""
    deaf, once = (
        Policy(retraining=replace(rules, once_an_episode=True, drift_trigger=heard))
        for heard in (False, True)
    )
    if decide_retraining(evidence, deaf).action is Action.RETRAIN:
        assert decide_retraining(evidence, once).action is Action.RETRAIN


@given(retraining_evidence(), policies, st.sampled_from(["previous", "season:12"]))
def test_a_reference_that_stays_never_trains_more(
    evidence: RetrainingEvidence, policy: Policy, reference: str
) -> None:
    """On the same evidence, a window as the reference trains only where training rows would."""
    assert evidence.drift is None or evidence.drift.reference_window is None
    seen = evidence.drift and replace(evidence.drift, reference_window="last year")
    other = replace(policy, drift=replace(policy.drift, reference=reference))
    if decide_retraining(replace(evidence, drift=seen), other).action is Action.RETRAIN:
        assert decide_retraining(evidence, policy).action is Action.RETRAIN


@given(retraining_evidence(broken=True), policies)
def test_a_broken_window_never_retrains(evidence: RetrainingEvidence, policy: Policy) -> None:
    """Whatever else is true of it, a window that breaks the contract goes to a person, even when
    that person asked to train."""
    assert decide_retraining(evidence, policy).action is Action.ESCALATE


@given(
    retraining_evidence(),
    policies,
    st.sampled_from(["drift", "realised_auc", "new_labels", "trained_through", "expected_auc"]),
)
def test_a_blank_never_starts_a_training(
    evidence: RetrainingEvidence, policy: Policy, part: str
) -> None:
    """With any measurement unknown the loop trains only where it would have trained with the
    measurement."""
    in_state = {"trained_through", "expected_auc"}
    blank = () if part == "new_labels" else None
    less = (
        replace(evidence, state=replace(evidence.state, **{part: blank}))
        if part in in_state
        else replace(evidence, **{part: blank})
    )
    if decide_retraining(less, policy).action is Action.RETRAIN:
        assert decide_retraining(evidence, policy).action is Action.RETRAIN


# Each number of the policy, and how it is made stricter: fewer trainings.
STRICTER = {
    "gain_trigger": lambda rules, by: False,
    "cost": lambda rules, by: rules.cost + by,
    "doubt": lambda rules, by: rules.doubt + 3 * by,
    # How exactly the gain is measured, and no limit.
    "trial_rows": lambda rules, by: rules.trial_rows,
    "drift_trigger": lambda rules, by: False,
    "max_drift_share": lambda rules, by: min(1.0, rules.max_drift_share + by),
    "once_an_episode": lambda rules, by: True,
    "auc_loss_trigger": lambda rules, by: False,
    "max_auc_loss": lambda rules, by: min(1.0, rules.max_auc_loss + by),
    "age_trigger": lambda rules, by: False,
    "max_age_windows": lambda rules, by: rules.max_age_windows + round(5 * by),
    "needed_windows": lambda rules, by: min(
        rules.memory_windows, rules.needed_windows + round(3 * by)
    ),
    "memory_windows": lambda rules, by: max(
        rules.needed_windows, rules.memory_windows - round(3 * by)
    ),
    "cooldown_windows": lambda rules, by: rules.cooldown_windows + round(5 * by),
    "budget_trainings": lambda rules, by: max(1, rules.budget_trainings - round(5 * by)),
    "budget_windows": lambda rules, by: rules.budget_windows + round(5 * by),
    "min_new_labels": lambda rules, by: rules.min_new_labels + round(1000 * by),
    "min_new_labels_per_class": lambda rules, by: rules.min_new_labels_per_class + round(100 * by),
    "min_rows": lambda rules, by: rules.min_rows + round(1000 * by),
}


def test_every_number_of_the_retraining_policy_knows_its_strict_direction() -> None:
    """A new number cannot be added to the retraining policy without saying here which way is
    stricter."""
    assert set(STRICTER) == {field.name for field in fields(RetrainingPolicy)}


@given(retraining_evidence(), policies, st.sampled_from(sorted(STRICTER)), st.floats(0, 1))
def test_a_stricter_policy_never_trains_more(
    evidence: RetrainingEvidence, policy: Policy, name: str, by: float
) -> None:
    """What a stricter policy trains on, the laxer one trains on too.

    Without rows enough to know the gain, drift and a loss ask again: there `min_rows` is no limit.
    """
    assume(name != "min_rows" or evidence.gain is None or not evidence.gain.rows)
    stricter = replace(policy.retraining, **{name: STRICTER[name](policy.retraining, by)})
    if decide_retraining(evidence, replace(policy, retraining=stricter)).action is Action.RETRAIN:
        assert decide_retraining(evidence, policy).action is Action.RETRAIN


@given(retraining_evidence() | retraining_evidence(broken=True), policies)
def test_there_is_always_a_reason(evidence: RetrainingEvidence, policy: Policy) -> None:
    """Every decision says why, on one line, and ESCALATE stands for a broken window only."""
    decision = decide_retraining(evidence, policy)
    assert decision.reason.strip()
    assert "\n" not in decision.reason
    assert (decision.action is Action.ESCALATE) == bool(evidence.violations)
