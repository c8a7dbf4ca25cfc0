"""What a decision says of itself: the same line stands in the log, the journal, the tag and the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from tests.spec.examples import (
    BROKEN,
    auc,
    delta,
    drifted,
    first_model,
    promotion,
    retraining,
    rollback,
    with_retraining,
)

USUAL = Policy()
DRIFTING = drifted(0.5, 0.4, 0.0, 0.0)

# fmt: off
TABLE = [
    # action, the decision, its reason
    (Action.KEEP, decide_retraining(retraining(), USUAL),
     "no trigger fired"),
    (Action.KEEP, decide_retraining(retraining(drift=None, realised_auc=None), USUAL),
     "no trigger fired; not known: drift_share over its limit, realised AUC lost more than its limit"),
    (Action.KEEP, decide_retraining(retraining({"trained_at": (9,)}, drift=DRIFTING), USUAL),
     "drift_share over its limit, but 'cooldown is over' fails: wanted more than 1 windows since the last retraining, got 1"),
    (Action.KEEP, decide_retraining(retraining({"drifting_since": 7, "promoted_at": 5}, drift=DRIFTING), USUAL),
     "drift_share over its limit, but 'this drift was not trained for yet' fails: wanted one retraining a drift episode, "
     "got one 2 windows ago, and production stayed"),
    (Action.RETRAIN, decide_retraining(retraining(drift=DRIFTING), USUAL),
     "drift_share over its limit: 0.50 (column_0, column_1)"),
    (Action.RETRAIN, decide_retraining(retraining(drift=DRIFTING, realised_auc=auc(0.7)), USUAL),
     "drift_share over its limit: 0.50 (column_0, column_1); realised AUC lost more than its limit: +0.1000"),
    (Action.RETRAIN, decide_retraining(retraining({"production": None}), USUAL),
     "no production model: nothing promoted yet"),
    (Action.RETRAIN, decide_retraining(retraining(requested=True), USUAL),
     "asked for by a person: yes"),
    (Action.ESCALATE, decide_retraining(retraining(violations=(BROKEN,)), USUAL),
     "'fee keeps the contract (maximum)' fails: wanted at most 500, got 61 % of rows above it"),
    (Action.PROMOTE, decide_promotion(promotion(), USUAL),
     "all 6 gates hold; val_auc: 0.8200; delta on month_010: +0.0050 [-0.0050, +0.0150] on 2000 rows"),
    (Action.REJECT, decide_promotion(promotion({"delta": delta(-0.05)}), USUAL),
     "'delta on month_010' fails: wanted not significantly worse than version 4: upper bound at least +0.0000, "
     "got -0.0500 [-0.0600, -0.0400] on 2000 rows"),
    (Action.REJECT, decide_promotion(promotion({"same_recipe": False, "delta": delta(0.005)}), USUAL),
     "'delta on month_010' fails: wanted significantly better than version 4: lower bound over +0.0000, "
     "got +0.0050 [-0.0050, +0.0150] on 2000 rows"),
    (Action.REJECT, decide_promotion(promotion(comparison=None), USUAL),
     "'candidate was scored' is unknown: wanted scores on the evaluation window, got none"),
    (Action.REJECT, decide_promotion(promotion({"held_out": True}), USUAL),
     "'evaluation rows are newer than the training rows' fails: wanted a newer labelled window, unless it is the first model, "
     "got a held-out part of month_010"),
    (Action.ESCALATE, decide_promotion(promotion({"production": None, "delta": None}, production_error="file is gone"), USUAL),
     "'delta on month_010' is unknown: wanted production version 4 scored on the same rows, got file is gone"),
    (Action.ROLLBACK, decide_rollback(rollback(delta(-0.05)), USUAL),
     "production is significantly worse than version 3: -0.0500 [-0.0600, -0.0400] on 2000 rows"),
    (Action.KEEP, decide_rollback(rollback(delta(0.02)), USUAL),
     "'production is significantly worse than version 3' fails: wanted upper bound of delta below +0.0000, "
     "got +0.0200 [+0.0100, +0.0300] on 2000 rows"),
    (Action.KEEP, decide_rollback(rollback(delta(-0.05), {"promoted_at": 5}), USUAL),
     "production is significantly worse than version 3, "
     "but 'production is on probation' fails: wanted 1 to 2 windows after promotion, got 5 windows"),
    (Action.KEEP, decide_rollback(rollback(None), USUAL),
     "'enough labelled rows' is unknown: wanted 500 rows, got not measured"),
    (Action.SERVE, Decision(Kind.SERVING, Action.SERVE, "month_010", (Check("began to answer", Outcome.HOLDS, Role.NOTE, "", ""),
                            Check("loaded", Outcome.HOLDS, Role.GUARD, "a bundle", "version 5")), 5),
     "began to answer: ; loaded: version 5"),
]
# fmt: on


@pytest.mark.parametrize(
    ("action", "decision", "reason"),
    TABLE,
    ids=[f"{row[0]} {number}" for number, row in enumerate(TABLE)],
)
def test_each_action_says_why(action: Action, decision: Decision, reason: str) -> None:
    """The reason of each action reads as written here."""
    assert decision.action is action
    assert decision.reason == reason


def test_every_action_has_an_example_above() -> None:
    """An action that is new must show here how it reads."""
    assert {row[0] for row in TABLE} == set(Action)


def test_a_memory_is_named_in_what_was_wanted() -> None:
    """With n of m windows needed, the check says so, and so does the reason of what it starts."""
    decision = decide_retraining(
        retraining({"drift_marks": (True, False)}, drift=DRIFTING),
        with_retraining(needed_windows=2, memory_windows=3),
    )
    wanted = {check.claim: check.wanted for check in decision.checks}
    assert wanted["drift_share over its limit"] == "over 0.30 in 2 of the last 3 windows"


def test_a_first_model_says_that_it_is_the_first() -> None:
    """Where nothing could be compared, the decision says so instead of leaving the comparison out."""
    assert "none: this is the first model" in decide_promotion(first_model(), USUAL).reason


def test_a_rollback_names_where_it_goes_and_a_promotion_what_it_promotes() -> None:
    """`version` is the version that the action is about: the one to go back to, or the candidate."""
    assert decide_rollback(rollback(delta(-0.05)), USUAL).version == 3
    assert decide_promotion(promotion(), USUAL).version == 5
    assert decide_retraining(retraining(), USUAL).version == 4


def test_a_long_list_of_drifted_columns_is_cut() -> None:
    """Five columns are named at most, so that a reason stays one line on wide tables."""
    decision = decide_retraining(
        retraining(drift=replace(DRIFTING, columns=drifted(*[0.9] * 40).columns)), USUAL
    )
    assert (
        decision.reason
        == "drift_share over its limit: 1.00 (column_0, column_1, column_2, column_3, column_4)"
    )
