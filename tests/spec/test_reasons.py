"""What a decision says of itself: the same line stands in the log, the journal, the tag and the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.decisions.deciding_measure import Measured
from closedloop.decisions.moved_outside import MovedEvidence, decide_moved
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.quarantine import decide_quarantine, decide_release
from closedloop.decisions.registry_policy import RegistryPolicy
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from closedloop.decisions.rollback_evidence import Served
from closedloop.decisions.taken_back import TakenBack
from tests.spec.examples import (
    BROKEN,
    alone,
    auc,
    compared_with,
    delta,
    drifted,
    first_model,
    gain,
    promotion,
    quarantine,
    repeated,
    retraining,
    rollback,
    scores,
    sliced,
    with_promotion,
    with_retraining,
    witness,
)

USUAL = Policy()
LOG_LOSS = Measured("log_loss", -0.30, 0.005)
DRIFTING = drifted(0.5, 0.4, 0.0, 0.0)
SEASON = compared_with("season:8")
LAST_YEAR = replace(DRIFTING, reference="month_002", reference_window="month_002")

# fmt: off
TABLE = [
    # action, the decision, its reason
    (Action.KEEP, decide_retraining(retraining(), USUAL),
     "no reason to retrain"),
    (Action.KEEP, decide_retraining(retraining(drift=None, realised_auc=None), USUAL),
     "no reason to retrain; unknown: drift_share over its limit, realised AUC fell by more than its limit"),
    (Action.KEEP, decide_retraining(retraining({"trained_at": (9,)}, drift=DRIFTING), USUAL),
     "drift_share 0.50 is over its limit 0.30 (column_0, column_1), but the last retraining was 1 window ago, cooldown 1"),
    (Action.KEEP, decide_retraining(retraining({"drifting_since": 7, "promoted_at": 5}, drift=DRIFTING), USUAL),
     "drift_share 0.50 is over its limit 0.30 (column_0, column_1), but a retraining for this drift 2 windows ago brought no better model"),
    (Action.RETRAIN, decide_retraining(retraining(drift=LAST_YEAR), SEASON),
     "drift_share 0.50 against month_002 is over its limit 0.30 (column_0, column_1)"),
    (Action.KEEP, decide_retraining(retraining({"drifting_since": 7}, drift=LAST_YEAR), SEASON),
     "drift_share 0.50 against month_002 is over its limit 0.30 (column_0, column_1), but production learned from this drift 2 windows ago"),
    (Action.KEEP, decide_retraining(retraining(drift=DRIFTING, new_labels=()), USUAL),
     "drift_share 0.50 is over its limit 0.30 (column_0, column_1), but enough new labels: wanted 500 labelled rows newer than production, "
     "got 0; enough new labels of each class: wanted 30 of each, got 0 of the rarest"),
    (Action.RETRAIN, decide_retraining(retraining({"missed": (("month_009", 0.004),)}, gain=gain(0.0042, 0.001)), USUAL),
     "newer labels would have gained 0.0077 AUC since the last training, which costs 0.005"),
    (Action.RETRAIN, decide_retraining(retraining(drift=DRIFTING), USUAL),
     "drift_share 0.50 is over its limit 0.30 (column_0, column_1)"),
    (Action.RETRAIN, decide_retraining(retraining(drift=DRIFTING, realised_auc=auc(0.7)), USUAL),
     "drift_share 0.50 is over its limit 0.30 (column_0, column_1); realised AUC fell by 0.1000, limit 0.020"),
    (Action.RETRAIN, decide_retraining(retraining({"production": None}), USUAL),
     "there is no production model yet"),
    (Action.RETRAIN, decide_retraining(retraining(requested=True), USUAL),
     "requested by a person"),
    (Action.ESCALATE, decide_retraining(retraining(violations=(BROKEN,)), USUAL),
     "fee breaks the contract (maximum): wanted at most 500, got 61 % of rows above it"),
    (Action.ESCALATE, decide_retraining(retraining(repeated=repeated(1500)), USUAL),
     "1,500 of 2,000 keys are in month_008 and month_009 already, so each file seems to hold all rows so far: "
     "set new_rows = true under [source] to take only new ones"),
    (Action.ESCALATE, decide_retraining(retraining(repeated=repeated(2000)), USUAL),
     "2,000 of 2,000 keys are in month_008 and month_009 already, so month_010 seems to be a copy: take it out of the source"),
    (Action.ESCALATE, decide_promotion(first_model(single_columns=(alone("refund", 1.0, by_nulls=True),)), USUAL),
     "refund alone tells the target, by where it is null (AUC 1.000 on 2,000 rows): remove [columns.refund] if it is written after the "
     "target is known, otherwise write known_before_target = true under it"),
    (Action.PROMOTE, decide_promotion(promotion(repeated=repeated(500)), USUAL),
     "all 7 gates hold; val_auc: 0.8200; 500 of 2,000 keys are in month_008 and month_009 already, and judge no model; "
     "not clearly better or worse than version 4 on the same rows: AUC +0.0050 [-0.0050, +0.0150] on 2000 rows"),
    (Action.PROMOTE, decide_promotion(promotion(), USUAL),
     "all 6 gates hold; val_auc: 0.8200; "
     "not clearly better or worse than version 4 on the same rows: AUC +0.0050 [-0.0050, +0.0150] on 2000 rows"),
    (Action.WAIT, decide_promotion(promotion({"delta": delta(0.05)}), with_promotion(approval="always")),
     'a person is asked: approval = "always"; all 6 gates hold; val_auc: 0.8200; '
     "better than version 4 on the same rows: AUC +0.0500 [+0.0400, +0.0600] on 2000 rows"),
    (Action.WAIT, decide_promotion(promotion(), with_promotion(approval="borderline")),
     "a person is asked: the gain over version 4 is not clear: the lower bound of AUC +0.0050 [-0.0050, +0.0150] on 2000 rows is below +0.0000; "
     "all 6 gates hold; val_auc: 0.8200; "
     "not clearly better or worse than version 4 on the same rows: AUC +0.0050 [-0.0050, +0.0150] on 2000 rows"),
    (Action.PROMOTE, decide_promotion(promotion({"delta": delta(0.05)}), USUAL),
     "all 6 gates hold; val_auc: 0.8200; better than version 4 on the same rows: AUC +0.0500 [+0.0400, +0.0600] on 2000 rows"),
    (Action.PROMOTE, decide_promotion(promotion({"candidate": scores(0.65)}, expected_auc=0.83), USUAL),
     "all 6 gates hold; val_auc: 0.6500; "
     "not clearly better or worse than version 4 on the same rows: AUC +0.0050 [-0.0050, +0.0150] on 2000 rows; "
     "what losses are measured against falls from 0.8300 to 0.6500: the data became harder, or something is wrong "
     "that no retraining mends"),
    (Action.ESCALATE, decide_promotion(first_model({"candidate": scores(0.2626)}), USUAL),
     "val_auc: wanted at least 0.600 (an AUC below 0.5 is worse than chance), got 0.2626; "
     "better than the trivial baseline: wanted at least 0.020 above its AUC of 0.5000 (an AUC below 0.5 is worse than chance), got -0.2374"),
    (Action.ESCALATE, decide_promotion(promotion({"candidate": scores(0.2626), "production": scores(0.26)}), USUAL),
     "val_auc: wanted at least 0.600 (production is below it too, with 0.2600, but an AUC below 0.5 is worse than chance), got 0.2626; "
     "better than the trivial baseline: wanted at least 0.020 above its AUC of 0.5000 (production is below it too, with -0.2400, but "
     "an AUC below 0.5 is worse than chance), got -0.2374"),
    (Action.ESCALATE, decide_promotion(promotion({"candidate": scores(0.58), "production": scores(0.55)}, quarantined=("month_010",)), USUAL),
     "val_auc: wanted at least 0.600 (production is below it too, with 0.5500, but month_010 is in quarantine), got 0.5800"),
    (Action.REJECT, decide_promotion(promotion({"delta": delta(-0.05)}), USUAL),
     "worse than version 4 on the same rows: AUC -0.0500 [-0.0600, -0.0400] on 2000 rows"),
    (Action.REJECT, decide_promotion(promotion({"same_recipe": False, "delta": delta(0.005)}), USUAL),
     "not clearly better or worse than version 4 on the same rows: AUC +0.0050 [-0.0050, +0.0150] on 2000 rows; "
     "another recipe must be better by more than 0"),
    (Action.REJECT, decide_promotion(promotion(sliced(delta(-0.05))), USUAL),
     "worse in slice seniors: AUC -0.0500 [-0.0600, -0.0400] on 2000 rows"),
    (Action.REJECT, decide_promotion(promotion({"candidate": scores(0.55)}), USUAL),
     "val_auc: wanted at least 0.600, got 0.5500"),
    (Action.REJECT, decide_promotion(promotion(comparison=None), USUAL),
     "candidate was scored: wanted scores on the evaluation window, got none"),
    (Action.REJECT, decide_promotion(promotion({"held_out": True}), USUAL),
     "evaluation rows are newer than the training rows: wanted a newer labelled window, unless it is the first model, "
     "got a held-out part of month_010"),
    # -- another measure decides: it is named, and above 0 is better of a loss, too
    (Action.PROMOTE, decide_promotion(promotion({"delta": delta(0.05)}), with_promotion(measure="average_precision")),
     "all 6 gates hold; val_auc: 0.8200; better than version 4 on the same rows: average precision +0.0500 [+0.0400, +0.0600] on 2000 rows"),
    (Action.REJECT, decide_promotion(promotion({"delta": delta(-0.05), **sliced(delta(-0.05))}), with_promotion(measure="log_loss")),
     "worse than version 4 on the same rows: gain in log loss -0.0500 [-0.0600, -0.0400] on 2000 rows; "
     "worse in slice seniors: gain in log loss -0.0500 [-0.0600, -0.0400] on 2000 rows"),
    (Action.PROMOTE, decide_promotion(promotion({"candidate": replace(scores(), measured=LOG_LOSS)}, expected=replace(LOG_LOSS, value=-0.25)),
                                      with_promotion(measure="log_loss")),
     "all 6 gates hold; val_auc: 0.8200; "
     "not clearly better or worse than version 4 on the same rows: gain in log loss +0.0050 [-0.0050, +0.0150] on 2000 rows; "
     "what losses are measured against rises from 0.2500 to 0.3000: the data became harder, or something is wrong "
     "that no retraining mends"),
    (Action.RETRAIN, decide_retraining(retraining({"expected": LOG_LOSS}, realised=auc(-0.4)), with_promotion(measure="log_loss")),
     "realised log loss rose by 0.1000, limit 0.020"),
    (Action.KEEP, decide_retraining(retraining({"expected": LOG_LOSS}, realised_auc=auc(0.5), realised=auc(-0.3)), with_promotion(measure="log_loss")),
     "no reason to retrain"),
    (Action.KEEP, decide_retraining(retraining({"expected": LOG_LOSS}, realised=auc(-0.4)), with_promotion(measure="brier")),
     "no reason to retrain; unknown: realised Brier score rose by more than its limit"),
    (Action.ROLLBACK, decide_rollback(rollback(delta(-0.05)), with_promotion(measure="brier")),
     "production is significantly worse than version 3 on the same rows: gain in Brier score -0.0500 [-0.0661, -0.0339] on 2000 rows"),
    (Action.ESCALATE, decide_promotion(promotion({"production": None, "delta": None}, production_error="file is gone"), USUAL),
     "production version 4 could not be scored: file is gone"),
    (Action.ROLLBACK, decide_rollback(rollback(delta(-0.05)), USUAL),
     "production is significantly worse than version 3 on the same rows: AUC -0.0500 [-0.0661, -0.0339] on 2000 rows"),
    (Action.KEEP, decide_rollback(rollback(delta(0.02)), USUAL),
     "production is not significantly worse than version 3 on the same rows: AUC +0.0200 [+0.0039, +0.0361] on 2000 rows"),
    (Action.KEEP, decide_rollback(rollback(delta(-0.05), {"promoted_at": 5}), USUAL),
     "production is significantly worse than version 3 on the same rows: AUC -0.0500 [-0.0661, -0.0339] on 2000 rows, "
     "but production is on probation: wanted up to 2 windows after its promotion, got 5 windows"),
    (Action.KEEP, decide_rollback(rollback(None), USUAL),
     "no labelled rows yet that compare production with version 3"),
    (Action.KEEP, decide_rollback(rollback(delta(-0.05, rows=300), rarest=12), USUAL),
     "too few labelled rows to compare with version 3: wanted 500 rows, 20 of each class, got -0.0500 [-0.0656, -0.0344] on 300 rows, "
     "12 of the rarest class"),
    (Action.KEEP, decide_rollback(rollback(replace(delta(-0.05), groups=12), rarest=200), USUAL),
     "too few labelled rows to compare with version 3: wanted 500 rows, 20 of each class in 20 groups, "
     "got -0.0500 [-0.0661, -0.0339] on 2000 rows, 200 of the rarest class in 12 groups"),
    (Action.ROLLBACK, decide_rollback(rollback(None, served=Served(4, 300, 60, 2.0), served_before=Served(3, 900, 9, 2.0)), USUAL),
     "production fails more often than version 3: 60 of 300 calls, version 3 9 of 900"),
    (Action.REJECT, decide_promotion(promotion(taken_back=TakenBack(3, 17)), USUAL),
     "it is version 3 again, which decision 17 took back: the same recipe on the same rows, and no newer labels speak for it; "
     "a person can still promote it"),
    (Action.QUARANTINE, decide_quarantine(quarantine(0.21), USUAL),
     "AUC 0.2100 [0.2000, 0.2200] on 1000 rows is far below the windows before, of which the worst had 0.7900"),
    (Action.QUARANTINE, decide_quarantine(quarantine(0.80, label_counts=(50, 950)), USUAL),
     "the odds of a class changed 137.5 times against the windows before (limit 8)"),
    (Action.KEEP, decide_quarantine(quarantine(0.21, trusted_by="a person"), USUAL),
     "AUC 0.2100 [0.2000, 0.2200] on 1000 rows is far below the windows before, of which the worst had 0.7900, "
     "but month_010 was released by a person"),
    (Action.RELEASE, decide_release(witness(0.52, 0.53), USUAL),
     "production does no better on month_011 than on month_010 (AUC 0.5300 against 0.5200), so the change looks real"),
    (Action.KEEP, decide_release(witness(0.52, 0.84), USUAL),
     "month_010 stays out of training, production is not as bad on month_011: AUC 0.8400 against 0.5200"),
    (Action.KEEP, decide_release(witness(0.52, 0.53, label_counts=(50, 950)), USUAL),
     "production does no better on month_011 than on month_010 (AUC 0.5300 against 0.5200), so the change looks real, "
     "but the class shares of month_011 are nearer to those before month_010"),
    (Action.ESCALATE, decide_retraining(retraining(quarantined="month_009", quarantined_because="AUC 0.21 is far below"), USUAL),
     "month_009 is kept out of training, its labels look wrong: AUC 0.21 is far below. The next labelled window decides "
     "whether the change is real, or a person: closedloop quarantine release month_009"),
    (Action.RETURN, decide_moved(MovedEvidence("month_009", 5, 3), RegistryPolicy("return")),
     "somebody moved production outside of closedloop to version 5; by the journal it is at version 3"),
    (Action.SERVE, Decision(Kind.SERVING, Action.SERVE, "month_010", (Check("began to answer", Outcome.HOLDS, Role.NOTE, "", ""),
                            Check("loaded", Outcome.HOLDS, Role.GUARD, "a bundle", "version 5")), 5),
     "began to answer: ; loaded: version 5"),
    (Action.RETURN, decide_moved(MovedEvidence("month_010", 5, 3), RegistryPolicy("return")),
     "somebody moved production outside of closedloop to version 5; by the journal it is at version 3"),
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
    """An action that is new must show here how it reads; what a person accepts or
    has forgotten follows no rule."""
    assert {row[0] for row in TABLE} == set(Action) - {Action.ACCEPT, Action.FORGET}


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
    assert (
        "nothing to compare with: this is the first model"
        in decide_promotion(first_model(), USUAL).reason
    )


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
        == "drift_share 1.00 is over its limit 0.30 (column_0, column_1, column_2, column_3, column_4)"
    )
