"""Faults that published retraining loops have, each shown not to be ours, as far as decisions alone can show it.

- Several templates compute whether the candidate is better and then promote, or register, on a path that never reads the answer.
- A sample pipeline reads the champion's metric from the challenger's result; its test could not notice, having one number for both.
- A model-validation library computes confidence intervals, and its verdict uses the point value only.
- In another pipeline a champion that can no longer be scored makes every later comparison fail, so that nothing is ever released again.
- A widespread starter kit ships its gate switched to dry run and the comparison with the baseline off.
- None has a cooldown, a budget or a least number of new labels: while a column stays shifted, every run retrains.
- A broken feed (another unit, another code) counts as drift, and the answer to drift is to train on it.
- A logged score of one easy window becomes a bar that no later candidate passes.
- Verdicts change with the number of rows although nothing changed in the data.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.candidates import choose_candidate
from closedloop.decisions.checks import Action, Outcome, Role
from closedloop.decisions.evidence import LoopState, RetrainingEvidence
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from tests.spec.examples import (
    BROKEN,
    WINDOW,
    auc,
    comparison,
    delta,
    drifted,
    first_model,
    golden,
    labels,
    promotion,
    retraining,
    rollback,
    scores,
    sliced,
    with_promotion,
)

USUAL = Policy()
CLOSED_GATES = {
    "delta": promotion({"delta": delta(-0.05)}),
    "rows": promotion({"candidate": scores(rows=10, rarest=2)}),
    "val_auc": promotion({"candidate": scores(0.55)}),
    "F1": promotion({"candidate": scores(f1=0.1)}),
    "baseline": promotion({"baseline_auc": 0.82, "production": scores(0.86)}),
    "slice": promotion(sliced(delta(-0.05))),
    "golden case": promotion(golden=golden(False)),
    "package": promotion(packaging_difference=0.5),
    "held-out rows": promotion({"held_out": True}),
}


@pytest.mark.parametrize("gate", CLOSED_GATES)
def test_a_gate_that_reads_its_flag_does_not_promote_anyway(gate: str) -> None:
    """Each gate alone, closed while all others are open, keeps the candidate out, and the decision says that it did."""
    decision = decide_promotion(CLOSED_GATES[gate], USUAL)
    closed = [
        check
        for check in decision.checks
        if check.role is Role.GATE and check.outcome is not Outcome.HOLDS
    ]
    assert decision.action is Action.REJECT
    assert len(closed) == 1
    assert str(closed[0]) in decision.reason


def test_the_gate_is_not_shipped_in_dry_run() -> None:
    """With the policy that a new use case gets, without a line written, a worse candidate is rejected and a poor first model too."""
    assert decide_promotion(promotion({"delta": delta(-0.05)}), Policy()).action is Action.REJECT
    assert (
        decide_promotion(first_model({"candidate": scores(0.51)}), Policy()).action is Action.REJECT
    )


def test_the_champions_score_is_not_taken_from_the_challenger() -> None:
    """The decision follows the paired delta: swapping what candidate and production did turns it round."""
    ahead = promotion(
        {
            "same_recipe": False,
            "candidate": scores(0.84),
            "production": scores(0.80),
            "delta": delta(0.04),
        }
    )
    behind = promotion(
        {
            "same_recipe": False,
            "candidate": scores(0.80),
            "production": scores(0.84),
            "delta": delta(-0.04),
        }
    )
    assert decide_promotion(ahead, USUAL).action is Action.PROMOTE
    assert decide_promotion(behind, USUAL).action is Action.REJECT


def test_a_candidate_compared_with_itself_is_no_improvement() -> None:
    """One number fed to both sides, as in a test that mocks the scorer, does not promote another recipe."""
    same = promotion(
        {
            "same_recipe": False,
            "candidate": scores(0.84),
            "production": scores(0.84),
            "delta": delta(0.0, 0.0),
        }
    )
    assert decide_promotion(same, USUAL).action is Action.REJECT


@pytest.mark.parametrize(("margin", "action"), [(0.005, Action.PROMOTE), (0.02, Action.REJECT)])
def test_intervals_are_not_ignored_by_the_gate(margin: float, action: Action) -> None:
    """The same delta of +0.01 promotes another recipe when it is sure and not when it may be chance."""
    assert (
        decide_promotion(
            promotion({"same_recipe": False, "delta": delta(0.01, margin)}), USUAL
        ).action
        is action
    )


@pytest.mark.parametrize(("margin", "action"), [(0.005, Action.RETRAIN), (0.05, Action.KEEP)])
def test_intervals_are_not_ignored_by_the_trigger(margin: float, action: Action) -> None:
    """The same loss of AUC asks for a training when it is sure and not when it may be chance."""
    assert decide_retraining(retraining(realised_auc=auc(0.77, margin)), USUAL).action is action


@pytest.mark.parametrize(("margin", "action"), [(0.005, Action.ROLLBACK), (0.02, Action.KEEP)])
def test_intervals_are_not_ignored_by_the_rollback(margin: float, action: Action) -> None:
    """The same delta of -0.01 takes production back when it is sure and not when it may be chance."""
    assert decide_rollback(rollback(delta(-0.01, margin)), USUAL).action is action


def test_a_champion_that_cannot_be_scored_does_not_block_every_release() -> None:
    """A person is called by default; a policy that trusts the absolute gates lets a good candidate through and a bad one not."""
    lost = {"production": None, "delta": None}
    error = "version 4 needs columns that loop.toml no longer has: fee"
    asked = decide_promotion(promotion(lost, production_error=error), USUAL)
    assert asked.action is Action.ESCALATE
    assert error in asked.reason
    trusting = with_promotion(escalate_unscorable_production=False)
    assert (
        decide_promotion(promotion(lost, production_error=error), trusting).action is Action.PROMOTE
    )
    assert (
        decide_promotion(
            promotion({**lost, "candidate": scores(0.55)}, production_error=error), trusting
        ).action
        is Action.REJECT
    )


def test_a_champion_that_cannot_be_scored_asks_for_its_successor() -> None:
    """A production that cannot be loaded is a reason to train, not a reason to stop looking."""
    assert (
        decide_retraining(
            retraining(production_error="file is gone", drift=None, realised_auc=None), USUAL
        ).action
        is Action.RETRAIN
    )


def test_no_retrain_storms() -> None:
    """On a stream in which every column has drifted for good, 24 windows cost at most the budget, and the cooldown parts the trainings."""
    state = LoopState(production=1, trained_through=0, expected_auc=0.8)
    for index in range(1, 25):
        window = replace(WINDOW, index=index, name=f"month_{index:03d}")
        seen = RetrainingEvidence(
            window,
            state,
            drift=drifted(0.9, 0.9),
            realised_auc=auc(0.6),
            new_labels=labels(1800, 200),
        )
        if decide_retraining(seen, USUAL).action is Action.RETRAIN:
            state = replace(state, trained_at=(*state.trained_at, index))
    assert state.trained_at == (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23)


def test_no_retrain_storms_beyond_the_budget() -> None:
    """Without a cooldown the budget alone holds: four trainings in eight windows, then none until the oldest is eight windows old."""
    rules = Policy(retraining=replace(USUAL.retraining, cooldown_windows=0))
    trained: tuple[int, ...] = ()
    for index in range(1, 13):
        window = replace(WINDOW, index=index, name=f"month_{index:03d}")
        state = LoopState(production=1, trained_through=0, expected_auc=0.8, trained_at=trained)
        if (
            decide_retraining(
                RetrainingEvidence(window, state, drift=drifted(0.9), new_labels=labels(1800, 200)),
                rules,
            ).action
            is Action.RETRAIN
        ):
            trained = (*trained, index)
    assert trained == (1, 2, 3, 4, 9, 10, 11, 12)


def test_no_retraining_without_something_new_to_learn() -> None:
    """Drift without new labels trains nothing: the same rows would give the same model."""
    decision = decide_retraining(retraining(drift=drifted(0.9, 0.9), new_labels=()), USUAL)
    assert decision.action is Action.KEEP
    assert "enough new labels" in decision.reason


def test_broken_data_is_not_taken_for_drift() -> None:
    """A window that breaks the contract calls a person, however much it drifted and however bad production looks on it."""
    evidence = retraining(
        violations=(BROKEN,), drift=drifted(0.9, 0.9), realised_auc=auc(0.3), requested=True
    )
    assert decide_retraining(evidence, USUAL).action is Action.ESCALATE


def test_one_easy_window_sets_no_bar_for_ever() -> None:
    """What production scored on other rows plays no part: only the delta on the same rows does."""
    hard_window = {
        "candidate": scores(0.70),
        "production": scores(0.68),
        "delta": delta(0.02),
        "same_recipe": False,
    }
    assert decide_promotion(promotion(hard_window), USUAL).action is Action.PROMOTE


def test_a_blank_column_does_not_hide_drift_or_make_it() -> None:
    """A column that could not be measured leaves the share of the others as it is, and alone it says nothing."""
    assert drifted(0.9, None).drift_share == 1.0
    assert drifted(0.0, None).drift_share == 0.0
    assert drifted(None).drift_share is None
    assert decide_retraining(retraining(drift=drifted(None)), USUAL).action is Action.KEEP


@pytest.mark.parametrize("rows", [600, 6_000, 600_000])
def test_verdicts_do_not_flip_with_the_number_of_rows(rows: int) -> None:
    """The same distances and the same interval lead to the same decisions, on few rows and on many, once the least number is there."""
    many = replace(WINDOW, rows=rows, labelled_rows=rows)
    report = replace(drifted(0.05, 0.05), current_rows=rows)
    assert decide_retraining(retraining(window=many, drift=report), USUAL).action is Action.KEEP
    assert (
        decide_retraining(
            retraining(window=many, drift=replace(drifted(0.9), current_rows=rows)), USUAL
        ).action
        is Action.RETRAIN
    )
    assert (
        decide_promotion(
            promotion({"candidate": scores(rows=rows), "delta": delta(0.005, rows=rows)}), USUAL
        ).action
        is Action.PROMOTE
    )


def test_the_newest_recipe_does_not_win_by_being_new() -> None:
    """Another recipe with a higher but unsure score leaves the place to a refit of production's own."""
    refit = comparison(recipe="logistic/all", candidate=scores(0.815), delta=delta(0.0))
    rival = comparison(
        recipe="lightgbm/all", candidate=scores(0.82), same_recipe=False, delta=delta(0.005)
    )
    assert choose_candidate((rival, refit), USUAL) == refit
