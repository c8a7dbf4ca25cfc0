"""What holds of `decide_retraining` whatever the windows bring."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import takewhile

from hypothesis import event, given
from hypothesis import strategies as st

from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import LoopState, RetrainingEvidence, Window
from closedloop.decisions.policy import Policy, RetrainingPolicy
from closedloop.decisions.retraining import decide_retraining, drift_over_limit, loss_over_limit
from tests.properties.evidence_strategies import (
    policies,
    retraining_evidence,
    retraining_policies,
    violation,
)
from tests.spec.examples import drifted

# Old at once and content with one label: what stops a training is mostly the guards under test.
eager = retraining_policies().map(
    lambda rules: replace(
        rules,
        max_drift_share=0,
        max_age_windows=1,
        age_trigger=True,
        min_new_labels=1,
        min_new_labels_per_class=1,
    )
)


Step = tuple[int, RetrainingEvidence, bool]


@dataclass(frozen=True)
class Lived:
    """One window as the loop lived it: what it saw and decided, and whether what it then trained
    was promoted."""

    evidence: RetrainingEvidence
    trained: bool
    promoted: bool

    @property
    def index(self) -> int:
        return self.evidence.window.index


def play(
    stream: list[Step], rules: RetrainingPolicy, state: LoopState | None = None
) -> list[Lived]:
    """Each step moves on by that many windows (0: the same again; less: an older one), and may end
    in a promotion.

    What the loop remembers is kept as `History.state` reads it from the journal: of earlier
    windows, the latest look at each.
    """
    lived: list[Lived] = []
    looks: dict[int, tuple[bool | None, bool | None]] = {}
    state, at, policy = state or LoopState(), 0, Policy(retraining=rules)
    for move, seen, good in stream:
        at = max(0, at + move)
        drift = [
            (index, looks[index][0])
            for index in sorted(looks)
            if index < at and looks[index][0] is not None
        ]
        loss = [
            looks[index][1] for index in sorted(looks) if index < at and looks[index][1] is not None
        ]
        episode = list(takewhile(lambda mark: mark[1], reversed(drift)))
        state = replace(
            state,
            drift_marks=tuple(bool(over) for _, over in drift),
            loss_marks=tuple(bool(over) for over in loss),
            drifting_since=episode[-1][0] if episode else None,
        )
        evidence = replace(
            seen, window=replace(seen.window, index=at, name=f"month_{at:03d}"), state=state
        )
        trained = decide_retraining(evidence, policy).action is Action.RETRAIN
        lived.append(Lived(evidence, trained, trained and good))
        if not evidence.violations:
            looks[at] = drift_over_limit(evidence, policy), loss_over_limit(evidence, policy)
        if trained:
            state = replace(state, trained_at=(*state.trained_at, at))
        if trained and good:
            state = replace(
                state,
                production=(state.production or 0) + 1,
                trained_through=at,
                promoted_at=at,
                expected_auc=0.8,
            )
    return lived


def steps(*, requests: bool) -> st.SearchStrategy[list[Step]]:
    seen = retraining_evidence() | retraining_evidence(broken=True)
    seen = seen if requests else seen.map(lambda evidence: replace(evidence, requested=False))
    return st.lists(
        st.tuples(st.sampled_from([1, 1, 1, 1, 2, 0, -1, -3]), seen, st.booleans()),
        min_size=4,
        max_size=25,
    )


@given(steps(requests=False), eager)
def test_cooldown_and_budget_hold_on_any_stream(
    stream: list[Step], rules: RetrainingPolicy
) -> None:
    """By itself the loop never trains twice for one window, within the cooldown, or beyond the
    budget of any budget window.

    The cooldown begins with the first model: with nothing in production, every window may try for
    one, within the budget.
    """
    trainings = [training for training in play(stream, rules) if training.trained]
    trained = [training.index for training in trainings]
    event(f"trainings: {min(len(trained), 5)}")
    assert len(set(trained)) == len(trained)
    for place, training in enumerate(trainings):
        if training.evidence.state.production is not None:
            assert all(
                training.index - earlier > rules.cooldown_windows for earlier in trained[:place]
            )
    for first in trained:
        assert (
            sum(1 for index in trained if first <= index < first + rules.budget_windows)
            <= rules.budget_trainings
        )


@given(steps(requests=True), eager)
def test_trainings_that_a_person_asked_for_count(
    stream: list[Step], rules: RetrainingPolicy
) -> None:
    """After a requested training too, the loop by itself keeps the cooldown, the budget, and away
    from windows trained for."""
    trainings = [training for training in play(stream, rules) if training.trained]
    for place, now in enumerate(trainings):
        if not now.evidence.requested:
            earlier = [training.index for training in trainings[:place]]
            assert now.index not in earlier
            assert now.evidence.state.production is None or all(
                now.index - index > rules.cooldown_windows for index in earlier
            )
            assert (
                sum(1 for index in earlier if index > now.index - rules.budget_windows)
                < rules.budget_trainings
            )


# Labels around these limits, often too few in all, too few of one class, or none at all.
picky = eager.map(
    lambda rules: replace(
        rules, cooldown_windows=0, min_new_labels=500, min_new_labels_per_class=30
    )
)


@given(steps(requests=True), picky)
def test_nothing_is_trained_without_labels_or_on_a_broken_window(
    stream: list[Step], rules: RetrainingPolicy
) -> None:
    """On any stream, whoever asks, a training has had enough new labels in all, enough of each
    class, and a window that is whole."""
    for step in play(stream, rules):
        if step.trained:
            counts = [count for _, count in step.evidence.new_labels]
            assert sum(counts) >= rules.min_new_labels
            assert min(counts) >= rules.min_new_labels_per_class
            assert not step.evidence.violations


# A window's drift: over its limit, below it, not measured, or the window broken.
OVER, BELOW, BLANK, BROKEN = "over", "below", "blank", "broken"
drifts = st.lists(
    st.tuples(st.sampled_from([OVER, OVER, OVER, BELOW, BELOW, BLANK, BROKEN]), st.booleans()),
    min_size=8,
    max_size=25,
)
DRIFT_ALONE = RetrainingPolicy(
    max_drift_share=0.5,
    once_an_episode=False,
    auc_loss_trigger=False,
    age_trigger=False,
    cooldown_windows=0,
    budget_trainings=100,
    budget_windows=100,
)
LIVE = LoopState(production=1, trained_through=0, expected_auc=0.8)


def live_through(looks: list[tuple[str, bool]], rules: RetrainingPolicy) -> list[Lived]:
    """A stream of which nothing but drift can ask for a training; the second of each pair: would
    its candidate be promoted?"""
    window = Window("month_000", 0, 2000, 2000, (("stays", 1800), ("leaves", 200)), "d" * 64)
    drift = {OVER: drifted(0.9, 0.9), BELOW: drifted(0.0, 0.0)}
    usual = RetrainingEvidence(window, LIVE, new_labels=window.labels_per_class)
    stream = [
        (
            1,
            replace(
                usual, drift=drift.get(look), violations=(violation,) if look == BROKEN else ()
            ),
            good,
        )
        for look, good in looks
    ]
    return play(stream, rules, LIVE)


@given(
    drifts, st.integers(1, 4).flatmap(lambda most: st.tuples(st.integers(1, most), st.just(most)))
)
def test_drift_trains_when_it_was_seen_in_n_of_m_windows_and_only_then(
    looks: list[tuple[str, bool]], memory: tuple[int, int]
) -> None:
    """Of the last m windows that could be measured, the current one among them and over, n must
    have been over."""
    needed, remembered = memory
    lived = live_through(
        looks, replace(DRIFT_ALONE, needed_windows=needed, memory_windows=remembered)
    )
    for place, step in enumerate(lived):
        measured = [look for look, _ in looks[: place + 1] if look in (OVER, BELOW)][-remembered:]
        assert step.trained == (looks[place][0] == OVER and measured.count(OVER) >= needed)


@given(drifts, st.integers(0, 3))
def test_drift_trains_once_an_episode(looks: list[tuple[str, bool]], cooldown: int) -> None:
    """A run of drifting windows, broken and unmeasured ones aside, trains as soon as it may and
    never again, unless production moved."""
    tried, last = False, -10
    lived = live_through(
        looks, replace(DRIFT_ALONE, once_an_episode=True, cooldown_windows=cooldown)
    )
    for (look, good), step in zip(looks, lived, strict=True):
        assert step.trained == (look == OVER and not tried and step.index - last > cooldown)
        if step.trained:
            tried, last = not good, step.index
        elif look == BELOW:
            tried = False


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
}


def test_every_number_of_the_retraining_policy_knows_its_strict_direction() -> None:
    """A new number cannot be added to the retraining policy without saying here which way is
    stricter."""
    assert set(STRICTER) == {field.name for field in fields(RetrainingPolicy)}


@given(retraining_evidence(), policies, st.sampled_from(sorted(STRICTER)), st.floats(0, 1))
def test_a_stricter_policy_never_trains_more(
    evidence: RetrainingEvidence, policy: Policy, name: str, by: float
) -> None:
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
