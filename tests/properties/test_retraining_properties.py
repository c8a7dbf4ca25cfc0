"""What holds of `decide_retraining` whatever the windows bring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile

from hypothesis import event, given
from hypothesis import strategies as st

from closedloop.decisions.auc_loss import loss_over_limit
from closedloop.decisions.checks import Action
from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.evidence import LoopState, RetrainingEvidence, Window
from closedloop.decisions.policy import Policy, RetrainingPolicy
from closedloop.decisions.retraining import decide_retraining, drift_over_limit
from tests.properties.evidence_strategies import (
    eager,
    retraining_evidence,
    violation,
)
from tests.spec.examples import drifted

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
    stream: list[Step],
    rules: RetrainingPolicy,
    state: LoopState | None = None,
    drift_rules: DriftPolicy | None = None,
) -> list[Lived]:
    """Each step moves on by that many windows (0: the same again; less: an older one), and may end
    in a promotion.

    What the loop remembers is kept as `History.state` reads it from the journal: of earlier
    windows, the latest look at each.
    """
    lived: list[Lived] = []
    looks: dict[int, tuple[bool | None, bool | None]] = {}
    state, at = state or LoopState(), 0
    policy = Policy(retraining=rules, drift=drift_rules or DriftPolicy())
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


def live_through(
    looks: list[tuple[str, bool]], rules: RetrainingPolicy, reference: str = "training"
) -> list[Lived]:
    """A stream of which nothing but drift can ask for a training; the second of each pair: would
    its candidate be promoted?"""
    window = Window("month_000", 0, 2000, 2000, (("stays", 1800), ("leaves", 200)), "d" * 64)
    before = None if reference == "training" else "last year"
    drift = {
        look: replace(report, reference_window=before)
        for look, report in ((OVER, drifted(0.9, 0.9)), (BELOW, drifted(0.0, 0.0)))
    }
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
    return play(stream, rules, LIVE, DriftPolicy(reference=reference))


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


@given(drifts, st.integers(0, 3))
def test_drift_from_last_year_trains_once_an_episode(
    looks: list[tuple[str, bool]], cooldown: int
) -> None:
    """A promotion does not move last year's rows: what production has learned from trains nothing
    again until a window is as it was a year ago."""
    tried, last = False, -10
    once = replace(DRIFT_ALONE, once_an_episode=True, cooldown_windows=cooldown)
    for (look, _), step in zip(looks, live_through(looks, once, "season:12"), strict=True):
        assert step.trained == (look == OVER and not tried and step.index - last > cooldown)
        if step.trained:
            tried, last = True, step.index
        elif look == BELOW:
            tried = False
