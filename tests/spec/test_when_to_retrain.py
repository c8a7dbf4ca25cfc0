"""The manual of `decide_retraining`, one line a situation. The defaults of the policy apply unless a row brings its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import LoopState, RetrainingEvidence
from closedloop.decisions.gain import MISSED
from closedloop.decisions.policy import RetrainingPolicy
from closedloop.decisions.retraining import decide_retraining
from tests.spec.examples import (
    BROKEN,
    QUIET,
    WINDOW,
    Row,
    auc,
    compared_with,
    drifted,
    gain,
    labels,
    repeated,
    retraining,
    with_retraining,
)

ESCALATE, KEEP, RETRAIN = Action.ESCALATE, Action.KEEP, Action.RETRAIN
DRIFT, LOSS, OLD = (
    "drift_share over its limit",
    "realised AUC fell by more than its limit",
    "production is old",
)
LABELS, EACH_CLASS = "enough new labels", "enough new labels of each class"
TWICE, COOLDOWN, BUDGET = (
    "no retraining yet for this window",
    "cooldown is over",
    "retraining budget is left",
)
MANY_NEW = "enough rows are new"
DRIFTING = drifted(0.5, 0.4, 0.0, 0.0)
ONCE, ONCE_AN_EPISODE = "no retraining yet for this drift", with_retraining(once_an_episode=True)
IN_VAIN = {"drifting_since": 6, "trained_at": (8,), "promoted_at": 5}
# Months of a season that is as long as this one, of the window before, and of a season that has no such month yet.
SEASON, PREVIOUS = compared_with("season:8"), compared_with("previous")
LAST_YEAR = replace(DRIFTING, reference="month_002", reference_window="month_002")
NOT_YET = replace(DRIFTING, reference="version 4", note="there is no window 8 places before it")
LEARNED = {"drifting_since": 6, "trained_at": (8,), "promoted_at": 8, "trained_through": 7}
TWO_OF_THREE = with_retraining(needed_windows=2, memory_windows=3)

# fmt: off
TABLE = [
    # situation                                        evidence                                       action    settled by
    # -- nothing asks for it
    Row("all is as it was",                            retraining(),                                  KEEP,     (f"{DRIFT} fails", f"{LOSS} fails", f"{OLD} fails")),
    Row("drift exactly at its limit",                  retraining(drift=drifted(0.5, *[0.0] * 4)),    KEEP,     (f"{DRIFT} fails",), with_retraining(max_drift_share=0.2)),
    Row("a loss that may be chance",                   retraining(realised_auc=auc(0.77, 0.04)),      KEEP,     (f"{LOSS} fails",)),
    Row("a sure loss, but a small one",                retraining(realised_auc=auc(0.785, 0.005)),    KEEP,     (f"{LOSS} fails",)),
    Row("better than expected",                        retraining(realised_auc=auc(0.90)),            KEEP,     (f"{LOSS} fails",)),
    # -- rows that the windows before hold
    Row("a third of the newest labelled rows are old", retraining(drift=DRIFTING, repeated=repeated(700)), RETRAIN, (f"{DRIFT} holds", f"{MANY_NEW} holds")),
    Row("most of the newest labelled rows are old",    retraining(drift=DRIFTING, repeated=repeated(1001)), ESCALATE, (f"{MANY_NEW} fails",)),
    # -- one trigger each
    Row("nothing was ever promoted",                   RetrainingEvidence(WINDOW, LoopState(), new_labels=labels(900, 90)),
                                                                                                      RETRAIN,  ("no production model holds",)),
    Row("half of the columns drifted",                 retraining(drift=DRIFTING),                    RETRAIN,  (f"{DRIFT} holds",)),
    Row("a sure loss over its limit",                  retraining(realised_auc=auc(0.75)),            RETRAIN,  (f"{LOSS} holds",)),
    Row("production is five windows old",              retraining({"trained_through": 5, "trained_at": (5,)}), RETRAIN, (f"{OLD} holds",)),
    Row("a person asks",                               retraining(requested=True),                    RETRAIN,  ("requested by a person holds",)),
    Row("production cannot be loaded",                 retraining(production_error="file is gone", realised_auc=None),
                                                                                                      RETRAIN,  ("production cannot be scored holds", f"{LOSS} unknown")),
    Row("two triggers at once",                        retraining(drift=DRIFTING, realised_auc=auc(0.7)), RETRAIN, (f"{DRIFT} holds", f"{LOSS} holds")),
    # -- what newer labels would have gained; a training costs 0.005, half a standard error is taken off
    Row("one window would have paid for a training",   retraining(gain=gain(0.006)),                  RETRAIN,  (f"{MISSED} holds",)),
    Row("it would have gained less than it costs",     retraining(gain=gain(0.004)),                  KEEP,     (f"{MISSED} fails",)),
    Row("several windows together would have paid",    retraining({"missed": (("month_008", 0.001), ("month_009", 0.002))}, gain=gain(0.003)),
                                                                                                      RETRAIN,  (f"{MISSED} holds",)),
    Row("the same window, seen again, counts once",    retraining({"missed": (("month_010", 0.004),)}, gain=gain(0.004)), KEEP, (f"{MISSED} fails",)),
    Row("a loss of one window takes nothing away",     retraining({"missed": (("month_009", 0.006),)}, gain=gain(-0.02)), RETRAIN, (f"{MISSED} holds",)),
    Row("a gain that may be chance counts for less",   retraining(gain=gain(0.006, 0.004)),           KEEP,     (f"{MISSED} fails",)),
    Row("a gain on too few rows",                      retraining(gain=gain(0.2, rows=40)),           KEEP,     (f"{MISSED} unknown",)),
    Row("a gain, but its trigger is off",              retraining(gain=gain(0.2)),                    KEEP,     (f"{OLD} fails",), with_retraining(gain_trigger=False)),
    Row("a training is free, and nothing was gained",  retraining(gain=gain(0.0)),                    KEEP,     (f"{MISSED} fails",), with_retraining(cost=0)),
    Row("drift, but nothing would have been gained",   retraining(drift=DRIFTING, gain=gain(0.0)),    KEEP,     (f"{DRIFT} holds", f"{MISSED} fails")),
    Row("drift, and a training would gain too little", retraining(drift=DRIFTING, gain=gain(0.003, 0.001)), KEEP, (f"{DRIFT} holds", f"{MISSED} fails")),
    Row("drift, and it may be that a training pays",   retraining(drift=DRIFTING, gain=gain(0.004, 0.002)), RETRAIN, (f"{DRIFT} holds",)),
    Row("a loss, and it may be that a training pays",  retraining(realised_auc=auc(0.7), gain=gain(0.0, 0.01)), RETRAIN, (f"{LOSS} holds",)),
    Row("a hard season: no model would do better",     retraining(realised_auc=auc(0.7), gain=gain(0.0)), KEEP, (f"{LOSS} holds", f"{MISSED} fails")),
    Row("drift, and the gain is unknown",              retraining(drift=DRIFTING, gain=None),         RETRAIN,  (f"{DRIFT} holds", f"{MISSED} unknown")),
    Row("old, and nothing would have been gained",     retraining({"trained_through": 5, "trained_at": (5,)}, gain=gain(0.0)),
                                                                                                      RETRAIN,  (f"{OLD} holds", f"{MISSED} fails")),
    Row("it would have paid, within the cooldown",     retraining({"trained_at": (9,)}, gain=gain(0.1)), KEEP,  (f"{MISSED} holds", f"{COOLDOWN} fails")),
    # -- a trigger that is switched off asks for nothing
    Row("drift, but its trigger is off",               retraining(drift=DRIFTING),                    KEEP,     (f"{LOSS} fails",), with_retraining(drift_trigger=False)),
    Row("a loss, but its trigger is off",              retraining(realised_auc=auc(0.7)),             KEEP,     (f"{DRIFT} fails",), with_retraining(auc_loss_trigger=False)),
    Row("old, but its trigger is off",                 retraining({"trained_through": 1}),            KEEP,     (f"{DRIFT} fails",), with_retraining(age_trigger=False)),
    # -- blanks never fire
    Row("drift was not measured",                      retraining(drift=None),                        KEEP,     (f"{DRIFT} unknown",)),
    Row("no column could be measured",                 retraining(drift=drifted(None, None)),         KEEP,     (f"{DRIFT} unknown",)),
    Row("no labels for the window yet",                retraining(realised_auc=None),                 KEEP,     (f"{LOSS} unknown",)),
    Row("nobody knows what production promised",       retraining({"expected_auc": None}, realised_auc=auc(0.6)), KEEP, (f"{LOSS} unknown",)),
    Row("nobody knows what production was trained on", retraining({"trained_through": None}),         KEEP,     (f"{OLD} unknown",)),
    Row("drift counts although labels are missing",    retraining(drift=DRIFTING, realised_auc=None), RETRAIN,  (f"{DRIFT} holds", f"{LOSS} unknown")),
    # -- memory: n of the last m windows
    Row("first drifting window of two needed",         retraining({"drift_marks": (False, False)}, drift=DRIFTING), KEEP, (f"{DRIFT} fails",), TWO_OF_THREE),
    Row("second drifting window of three",             retraining({"drift_marks": (True, False)}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",), TWO_OF_THREE),
    Row("the other one is too long ago",               retraining({"drift_marks": (True, False, False)}, drift=DRIFTING), KEEP, (f"{DRIFT} fails",), TWO_OF_THREE),
    Row("it drifted before, not now",                  retraining({"drift_marks": (True, True)}, drift=QUIET), KEEP, (f"{DRIFT} fails",), TWO_OF_THREE),
    Row("second window with a loss",                   retraining({"loss_marks": (True,)}, realised_auc=auc(0.7)), RETRAIN, (f"{LOSS} holds",), TWO_OF_THREE),
    # -- guards
    Row("too few new labels",                          retraining(drift=DRIFTING, new_labels=labels(400, 99)), KEEP, (f"{DRIFT} holds", f"{LABELS} fails")),
    Row("just enough new labels",                      retraining(drift=DRIFTING, new_labels=labels(470, 30)), RETRAIN, (f"{DRIFT} holds",)),
    Row("too few of one class",                        retraining(drift=DRIFTING, new_labels=labels(1971, 29)), KEEP, (f"{DRIFT} holds", f"{EACH_CLASS} fails")),
    Row("no new labels at all",                        retraining(drift=DRIFTING, new_labels=()),     KEEP,     (f"{DRIFT} holds", f"{LABELS} fails", f"{EACH_CLASS} fails")),
    Row("trained in the window before",                retraining({"trained_at": (9,)}, drift=DRIFTING), KEEP,  (f"{DRIFT} holds", f"{COOLDOWN} fails")),
    Row("the cooldown is just over",                   retraining({"trained_at": (8,)}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",)),
    Row("no cooldown wanted",                          retraining({"trained_at": (9,)}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",), with_retraining(cooldown_windows=0)),
    Row("already trained for this window",             retraining({"trained_at": (10,)}, drift=DRIFTING), KEEP, (f"{DRIFT} holds", f"{TWICE} fails", f"{COOLDOWN} fails")),
    Row("the same, with no cooldown",                  retraining({"trained_at": (10,)}, drift=DRIFTING), KEEP, (f"{DRIFT} holds", f"{TWICE} fails", f"{COOLDOWN} fails"), with_retraining(cooldown_windows=0)),
    Row("the budget is spent",                         retraining({"trained_at": (3, 5, 6, 8)}, drift=DRIFTING), KEEP, (f"{DRIFT} holds", f"{BUDGET} fails")),
    Row("one training has left the budget's windows",  retraining({"trained_at": (2, 5, 6, 8)}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",)),
    Row("an old window is played again",               retraining({"trained_at": (12,)}, drift=DRIFTING), KEEP, (f"{DRIFT} holds", f"{COOLDOWN} fails")),
    Row("first model, but too few labels",             retraining({"production": None}, new_labels=labels(100, 10)), KEEP,
                                                                                                      ("no production model holds", f"{LABELS} fails", f"{EACH_CLASS} fails")),
    # -- the same drift again: an episode is a run of drifting windows, here since window 6
    Row("a training for it promoted nothing",          retraining(IN_VAIN, drift=DRIFTING),           KEEP,     (f"{DRIFT} holds", f"{ONCE} fails"), ONCE_AN_EPISODE),
    Row("the same, but it may try again",              retraining(IN_VAIN, drift=DRIFTING),           RETRAIN,  (f"{DRIFT} holds",), with_retraining(once_an_episode=False)),
    Row("no training for it yet",                      retraining({**IN_VAIN, "trained_at": (5,)}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",), ONCE_AN_EPISODE),
    Row("the drift was gone in between",               retraining({**IN_VAIN, "drifting_since": 9}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",), ONCE_AN_EPISODE),
    Row("the training for it was promoted",            retraining({**IN_VAIN, "promoted_at": 8}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds",), ONCE_AN_EPISODE),
    Row("promoted, and then tried once more",          retraining({**IN_VAIN, "promoted_at": 6, "trained_at": (6, 8)}, drift=DRIFTING), KEEP, (f"{DRIFT} holds", f"{ONCE} fails"), ONCE_AN_EPISODE),
    Row("promoted, and taken back",                    retraining({**IN_VAIN, "promoted_at": None}, drift=DRIFTING), KEEP, (f"{DRIFT} holds", f"{ONCE} fails"), ONCE_AN_EPISODE),
    Row("tried in vain, and now AUC is lost",          retraining(IN_VAIN, drift=DRIFTING, realised_auc=auc(0.7)), RETRAIN, (f"{DRIFT} holds", f"{LOSS} holds"), ONCE_AN_EPISODE),
    Row("tried in vain, and now production is old",    retraining({**IN_VAIN, "trained_through": 5}, drift=DRIFTING), RETRAIN, (f"{DRIFT} holds", f"{OLD} holds"), ONCE_AN_EPISODE),
    Row("tried in vain, and a person asks",            retraining(IN_VAIN, drift=DRIFTING, requested=True), RETRAIN, (f"{DRIFT} holds", "requested by a person holds"), ONCE_AN_EPISODE),
    # -- the same, where windows are compared with last year's: a promotion does not move those
    Row("production learned from this drift",          retraining(LEARNED, drift=LAST_YEAR),          KEEP,     (f"{DRIFT} holds", f"{ONCE} fails"), SEASON),
    Row("the same, and now AUC is lost",               retraining(LEARNED, drift=LAST_YEAR, realised_auc=auc(0.7)), RETRAIN, (f"{DRIFT} holds", f"{LOSS} holds"), SEASON),
    Row("promoted, but from older rows alone",         retraining({**LEARNED, "drifting_since": 8}, drift=LAST_YEAR), RETRAIN, (f"{DRIFT} holds",), SEASON),
    Row("the drift from last year was gone between",   retraining({**LEARNED, "drifting_since": 9}, drift=LAST_YEAR), RETRAIN, (f"{DRIFT} holds",), SEASON),
    Row("a training for a season promoted nothing",    retraining({**IN_VAIN, "trained_through": 7}, drift=LAST_YEAR), KEEP, (f"{DRIFT} holds", f"{ONCE} fails"), SEASON),
    Row("learned, and it may try again",               retraining(LEARNED, drift=LAST_YEAR),          RETRAIN,  (f"{DRIFT} holds",), replace(SEASON, retraining=RetrainingPolicy(once_an_episode=False))),
    Row("no month of last year yet: training rows",    retraining(LEARNED, drift=NOT_YET),            RETRAIN,  (f"{DRIFT} holds",), SEASON),
    Row("promoted, and the next month changed again",  retraining(LEARNED, drift=LAST_YEAR),          RETRAIN,  (f"{DRIFT} holds",), PREVIOUS),
    # -- a person goes over cooldown and budget, never over missing labels or broken data
    Row("a person asks within the cooldown",           retraining({"trained_at": (3, 5, 6, 10)}, requested=True), RETRAIN, ("requested by a person holds",)),
    Row("a person asks without new labels",            retraining(requested=True, new_labels=()),     KEEP,
                                                                                                      ("requested by a person holds", f"{LABELS} fails", f"{EACH_CLASS} fails")),
    # -- broken is not drifted
    Row("the window breaks the contract",              retraining(drift=DRIFTING, violations=(BROKEN,)), ESCALATE, ("fee keeps the contract (maximum) fails",)),
    Row("it is broken and a person asks",              retraining(requested=True, violations=(BROKEN,)), ESCALATE, ("fee keeps the contract (maximum) fails",)),
    Row("it is broken and there is no model",          retraining({"production": None}, violations=(BROKEN,)), ESCALATE, ("fee keeps the contract (maximum) fails",)),
]
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_when_to_retrain(row: Row) -> None:
    """Each situation of the table leads to its action, by the checks that it names and no other."""
    row.assert_holds(decide_retraining(row.evidence, row.policy))
