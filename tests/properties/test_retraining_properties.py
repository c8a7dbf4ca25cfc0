"""What holds of `decide_retraining` whatever the windows bring."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from hypothesis import event, given
from hypothesis import strategies as st

from closedloop.checks import Action
from closedloop.decisions import decide_retraining
from closedloop.evidence import LoopState, RetrainingEvidence
from closedloop.policy import Policy, RetrainingPolicy
from tests.properties.evidence_strategies import policies, retraining_evidence, retraining_policies

# Old at once and content with one label: what stops a training is mostly the guards under test.
eager = retraining_policies().map(
    lambda rules: replace(rules, max_drift_share=0, max_age_windows=1, age_trigger=True, min_new_labels=1, min_new_labels_per_class=1)
)


Step = tuple[int, RetrainingEvidence, bool]


@dataclass(frozen=True)
class Training:
    """Where in a stream the loop trained, whether a person had asked for it, and whether something was in production."""

    index: int
    requested: bool
    replacing: bool


def play(stream: list[Step], rules: RetrainingPolicy) -> list[Training]:
    """Each step moves on by that many windows (0: the same again; less: an older one), and may end in a promotion."""
    trained: list[Training] = []
    state, at = LoopState(), 0
    for move, seen, promoted in stream:
        at = max(0, at + move)
        evidence = replace(seen, window=replace(seen.window, index=at, name=f"month_{at:03d}"), state=state)
        if decide_retraining(evidence, Policy(retraining=rules)).action is Action.RETRAIN:
            trained.append(Training(at, evidence.requested, state.production is not None))
            state = replace(state, trained_at=(*state.trained_at, at))
            if promoted:
                state = replace(state, production=(state.production or 0) + 1, trained_through=at, promoted_at=at, expected_auc=0.8)
    return trained


def steps(*, requests: bool) -> st.SearchStrategy[list[Step]]:
    seen = retraining_evidence() | retraining_evidence(broken=True)
    seen = seen if requests else seen.map(lambda one: replace(one, requested=False))
    return st.lists(st.tuples(st.sampled_from([1, 1, 1, 1, 2, 0, -1, -3]), seen, st.booleans()), min_size=4, max_size=25)


@given(steps(requests=False), eager)
def test_cooldown_and_budget_hold_on_any_stream(stream: list[Step], rules: RetrainingPolicy) -> None:
    """By itself the loop never trains twice for one window, within the cooldown, or beyond the budget of any budget window.

    The cooldown begins with the first model: with nothing in production, every window may try for one, within the budget.
    """
    played = play(stream, rules)
    trained = [one.index for one in played]
    event(f"trainings: {min(len(trained), 5)}")
    assert len(set(trained)) == len(trained)
    ordered = sorted(trained)
    for place, one in enumerate(played):
        if one.replacing:
            assert all(one.index - earlier.index > rules.cooldown_windows for earlier in played[:place])
    for first in ordered:
        assert sum(1 for index in ordered if first <= index < first + rules.budget_windows) <= rules.budget_trainings


@given(steps(requests=True), eager)
def test_trainings_that_a_person_asked_for_count(stream: list[Step], rules: RetrainingPolicy) -> None:
    """After a requested training too, the loop by itself keeps the cooldown, the budget, and away from windows trained for."""
    trained = play(stream, rules)
    for place, now in enumerate(trained):
        if not now.requested:
            earlier = [one.index for one in trained[:place]]
            assert not now.replacing or all(now.index - index > rules.cooldown_windows for index in earlier)
            assert sum(1 for index in earlier if index > now.index - rules.budget_windows) < rules.budget_trainings


@given(retraining_evidence(broken=True), policies)
def test_a_broken_window_never_retrains(evidence: RetrainingEvidence, policy: Policy) -> None:
    """Whatever else is true of it, a window that breaks the contract goes to a person, even when that person asked to train."""
    assert decide_retraining(evidence, policy).action is Action.ESCALATE


@given(retraining_evidence(), policies, st.sampled_from(["drift", "realised_auc", "new_labels", "trained_through", "expected_auc"]))
def test_a_blank_never_starts_a_training(evidence: RetrainingEvidence, policy: Policy, part: str) -> None:
    """With any measurement unknown the loop trains only where it would have trained with the measurement."""
    in_state = {"trained_through", "expected_auc"}
    blank = () if part == "new_labels" else None
    less = replace(evidence, state=replace(evidence.state, **{part: blank})) if part in in_state else replace(evidence, **{part: blank})
    if decide_retraining(less, policy).action is Action.RETRAIN:
        assert decide_retraining(evidence, policy).action is Action.RETRAIN


# Each number of the policy, and how it is made stricter: fewer trainings.
STRICTER = {
    "drift_trigger": lambda rules, by: False,
    "max_drift_share": lambda rules, by: min(1.0, rules.max_drift_share + by),
    "auc_loss_trigger": lambda rules, by: False,
    "max_auc_loss": lambda rules, by: min(1.0, rules.max_auc_loss + by),
    "age_trigger": lambda rules, by: False,
    "max_age_windows": lambda rules, by: rules.max_age_windows + round(5 * by),
    "needed_windows": lambda rules, by: min(rules.memory_windows, rules.needed_windows + round(3 * by)),
    "memory_windows": lambda rules, by: max(rules.needed_windows, rules.memory_windows - round(3 * by)),
    "cooldown_windows": lambda rules, by: rules.cooldown_windows + round(5 * by),
    "budget_trainings": lambda rules, by: max(1, rules.budget_trainings - round(5 * by)),
    "budget_windows": lambda rules, by: rules.budget_windows + round(5 * by),
    "min_new_labels": lambda rules, by: rules.min_new_labels + round(1000 * by),
    "min_new_labels_per_class": lambda rules, by: rules.min_new_labels_per_class + round(100 * by),
}


def test_every_number_of_the_retraining_policy_knows_its_strict_direction() -> None:
    """A new number cannot be added to the retraining policy without saying here which way is stricter."""
    assert set(STRICTER) == {one.name for one in fields(RetrainingPolicy)}


@given(retraining_evidence(), policies, st.sampled_from(sorted(STRICTER)), st.floats(0, 1))
def test_a_stricter_policy_never_trains_more(evidence: RetrainingEvidence, policy: Policy, name: str, by: float) -> None:
    """What a stricter policy trains on, the laxer one trains on too."""
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
