"""The manual of `decide_promotion`, one line a situation. The defaults of the policy apply unless a row brings its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import Scores
from closedloop.decisions.promotion import decide_promotion
from tests.spec.examples import (
    Row,
    alone,
    delta,
    first_model,
    golden,
    one_slice,
    promotion,
    repeated,
    scores,
    sliced,
    with_promotion,
)

ESCALATE, PROMOTE, REJECT = Action.ESCALATE, Action.PROMOTE, Action.REJECT
DELTA, ROWS, BASELINE = (
    "delta on month_010",
    "enough evaluation rows",
    "better than the trivial baseline",
)
PACKAGE, NEWER = (
    "packaged model answers like the fitted one",
    "evaluation rows are newer than the training rows",
)
NEW = "it has learnt something new"
MANY_NEW = "enough rows are new"
NO_LEAK = "no column alone tells the target"
SLICE, GOLDEN = "slice seniors is not harmed", "golden case loyal customer"
OTHER = "slice students is not harmed"
SENIORS_HARMED, STUDENTS_BETTER = (
    one_slice("seniors", delta(-0.05)),
    one_slice("students", delta(0.05)),
)
UNSCORABLE = {"production": None, "delta": None}
NO_FLOORS = with_promotion(min_val_auc=0, min_f1=0, min_gain_over_baseline=0)
LENIENT = with_promotion(escalate_unscorable_production=False)

CALIBRATED = with_promotion(max_calibration_error=0.05)


def off(error: float) -> Scores:
    return replace(scores(), calibration_error=error)


# fmt: off
TABLE = [
    # situation                                   evidence                                                      action    settled by
    # -- a refit of production's recipe: not significantly worse
    Row("a refit that is a little better",        promotion(),                                                  PROMOTE,  (f"{DELTA} holds",)),
    Row("a refit that may be worse by chance",    promotion({"delta": delta(-0.009)}),                          PROMOTE,  (f"{DELTA} holds",)),
    Row("a refit that is surely worse",           promotion({"delta": delta(-0.011)}),                          REJECT,   (f"{DELTA} fails",)),
    Row("surely worse, within the accepted loss", promotion({"delta": delta(-0.014)}),                          PROMOTE,  (f"{DELTA} holds",), with_promotion(max_loss=0.005)),
    # -- another recipe: significantly better
    Row("another recipe, surely better",          promotion({"same_recipe": False, "delta": delta(0.011)}),     PROMOTE,  (f"{DELTA} holds",)),
    Row("another recipe, better by chance",       promotion({"same_recipe": False, "delta": delta(0.009)}),     REJECT,   (f"{DELTA} fails",)),
    Row("another recipe, exactly as good",        promotion({"same_recipe": False, "delta": delta(0, 0)}),      REJECT,   (f"{DELTA} fails",)),
    Row("surely better, not by enough",           promotion({"same_recipe": False, "delta": delta(0.014)}),     REJECT,   (f"{DELTA} fails",), with_promotion(min_delta=0.005)),
    # -- nothing to compare with
    Row("the first model",                        first_model(),                                                PROMOTE,  (f"{DELTA} holds",)),
    Row("the first model, on held-out rows",      first_model({"held_out": True}),                              PROMOTE,  (f"{DELTA} holds", f"{NEWER} fails")),
    Row("the first model is no good",             first_model({"candidate": scores(0.55)}),                     REJECT,   ("val_auc fails",)),
    Row("held-out rows of the training window",   promotion({"held_out": True}),                                REJECT,   (f"{NEWER} fails",)),
    Row("production was not named, but scored",   promotion({"delta": delta(-0.05)}, production=None),          REJECT,   (f"{DELTA} fails",)),
    # -- production cannot be scored
    Row("production cannot be loaded",            promotion(UNSCORABLE, production_error="file is gone"),       ESCALATE, (f"{DELTA} unknown",)),
    Row("the same; the other gates are to do",    promotion(UNSCORABLE, production_error="file is gone"),       PROMOTE,  (f"{DELTA} holds",), LENIENT),
    Row("the same; and another gate fails",       promotion({**UNSCORABLE, "candidate": scores(0.55)}, production_error="file is gone"),
                                                                                                                REJECT,   ("val_auc fails",), LENIENT),
    Row("it failed and its version is not known", promotion(UNSCORABLE, production=None, production_error="registry is empty"),
                                                                                                                ESCALATE, (f"{DELTA} unknown",)),
    # -- the absolute gates
    Row("too few rows",                           promotion({"candidate": scores(rows=499, rarest=100)}),       REJECT,   (f"{ROWS} fails",)),
    Row("just enough rows",                       promotion({"candidate": scores(rows=500, rarest=30)}),        PROMOTE,  (f"{DELTA} holds",)),
    Row("too few of one class",                   promotion({"candidate": scores(rarest=29)}),                  REJECT,   (f"{ROWS} fails",)),
    Row("its rows are of too few customers",      promotion({"candidate": scores(groups=29)}),                  REJECT,   (f"{ROWS} fails",)),
    Row("its rows are of just enough customers",  promotion({"candidate": scores(groups=30)}),                  PROMOTE,  (f"{DELTA} holds",)),
    Row("customers enough, but too few rows",     promotion({"candidate": scores(rarest=29, groups=30)}),       REJECT,   (f"{ROWS} fails",)),
    Row("val_auc below its limit",                promotion({"candidate": scores(0.599)}),                      REJECT,   ("val_auc fails",)),
    Row("val_auc at its limit",                   promotion({"candidate": scores(0.6)}),                        PROMOTE,  (f"{DELTA} holds",)),
    Row("F1 below its limit",                     promotion({"candidate": scores(f1=0.29)}),                    REJECT,   ("F1 of leaves fails",)),
    Row("a class below what each must reach",     first_model({"candidate": scores(f1=0.69)}),                  REJECT,   ("F1 of stays by itself fails", "F1 of leaves by itself fails"),
                                                                                                                with_promotion(min_f1_per_class=0.7)),
    Row("probabilities off by more than allowed", promotion({"candidate": off(0.06), "production": off(0.02)}),  REJECT,   ("calibration error fails",), CALIBRATED),
    Row("off, but no more than production's",     promotion({"candidate": off(0.06), "production": off(0.07)}),  PROMOTE,  ("calibration error holds",), CALIBRATED),
    Row("nobody measured how far they are off",   promotion(),                                                  REJECT,   ("calibration error unknown",), CALIBRATED),
    Row("hardly better than a trivial model",     promotion({"baseline_auc": 0.81, "production": scores(0.84)}), REJECT,  (f"{BASELINE} fails",)),
    Row("a trivial model leaves nothing to gain", first_model({"candidate": scores(1.0), "baseline_auc": 1.0}), PROMOTE, (f"{BASELINE} holds",)),
    Row("a trivial model leaves little to gain",  first_model({"candidate": scores(0.994), "baseline_auc": 0.99}), REJECT, (f"{BASELINE} fails",)),
    # -- a floor is no reason to keep a production that misses it, too
    Row("val_auc below its limit, as production", promotion({"candidate": scores(0.58), "production": scores(0.55)}), PROMOTE, (f"{DELTA} holds",)),
    Row("the same, and worse than production",    promotion({"candidate": scores(0.55), "production": scores(0.58), "delta": delta(-0.03)}),
                                                                                                                REJECT,   (f"{DELTA} fails",)),
    Row("F1 below its limit, as production",      promotion({"candidate": scores(f1=0.29), "production": scores(f1=0.1)}), PROMOTE, (f"{DELTA} holds",)),
    Row("neither is better than a trivial model", promotion({"baseline_auc": 0.81, "production": scores(0.79)}), PROMOTE, (f"{DELTA} holds",)),
    Row("worse than chance, as production",       promotion({"candidate": scores(0.2626), "production": scores(0.26)}), ESCALATE,
                                                                                                                ("val_auc fails", f"{BASELINE} fails")),
    Row("worse than chance; production is not",   promotion({"candidate": scores(0.49), "production": scores(0.82)}), REJECT,
                                                                                                                ("val_auc fails", f"{BASELINE} fails")),
    Row("worse than chance, the first model",     first_model({"candidate": scores(0.4999)}),                   ESCALATE, ("val_auc fails", f"{BASELINE} fails")),
    Row("worse than chance, whatever the policy", promotion({"candidate": scores(0.49), "production": scores(0.3), "baseline_auc": 0.4}),
                                                                                                                ESCALATE, ("val_auc fails",), NO_FLOORS),
    Row("exactly chance, as production",          promotion({"candidate": scores(0.5), "production": scores(0.5)}), PROMOTE, (f"{DELTA} holds",)),
    Row("below, judged on a window in quarantine", promotion({"candidate": scores(0.58), "production": scores(0.55)}, quarantined=("month_010",)),
                                                                                                                ESCALATE, ("val_auc fails",)),
    Row("F1 below, on a window in quarantine",    promotion({"candidate": scores(f1=0.29), "production": scores(f1=0.1)}, quarantined=("month_010",)),
                                                                                                                ESCALATE, ("F1 of leaves fails",)),
    Row("hardly any gain, on such a window",      promotion({"baseline_auc": 0.81, "production": scores(0.79)}, quarantined=("month_010",)),
                                                                                                                ESCALATE, (f"{BASELINE} fails",)),
    Row("below, on such a window; production is not", promotion({"candidate": scores(0.58)}, quarantined=("month_010",)), REJECT, ("val_auc fails",)),
    Row("above every floor, on such a window",    promotion(quarantined=("month_010",)),                        PROMOTE,  (f"{DELTA} holds",)),
    Row("below; an older one is in quarantine",   promotion({"candidate": scores(0.58), "production": scores(0.55)}, quarantined=("month_009",)),
                                                                                                                PROMOTE,  (f"{DELTA} holds",)),
    Row("what was expected was far higher",       promotion({"candidate": scores(0.65)}, expected_auc=0.83),    PROMOTE,  ("what losses are measured against falls holds",)),
    Row("a first model below the floor",          first_model({"candidate": scores(0.59)}),                     REJECT,   ("val_auc fails",)),
    # -- a candidate that knows no more than production is an equal by construction: it must be better
    Row("nothing new, exactly as good",           promotion({"delta": delta(0, 0)}, new_windows=()),            REJECT,   (f"{DELTA} holds", f"{NEW} fails")),
    Row("nothing new, better by chance",          promotion({"delta": delta(0.009)}, new_windows=()),           REJECT,   (f"{DELTA} holds", f"{NEW} fails")),
    Row("nothing new, but surely better",         promotion({"delta": delta(0.011)}, new_windows=()),           PROMOTE,  (f"{NEW} holds",)),
    Row("nothing new, and no delta",              promotion({"delta": None}, new_windows=()),                   REJECT,   (f"{DELTA} unknown", f"{NEW} unknown")),
    Row("a new window; the twins are equal",      promotion({"delta": delta(0, 0)}, new_windows=("month_010",)), PROMOTE, (f"{DELTA} holds",)),
    Row("an older version did not say",           promotion({"delta": delta(0, 0)}),                            PROMOTE,  (f"{DELTA} holds",)),
    Row("nothing new for a first model",          first_model(new_windows=()),                                  PROMOTE,  (f"{DELTA} holds",)),
    Row("nothing new; production cannot be loaded", promotion(UNSCORABLE, production_error="file is gone", new_windows=()),
                                                                                                                ESCALATE, (f"{DELTA} unknown",)),
    # -- rows that earlier windows hold judge no model, and most of them may not be such
    Row("a third of the rows are old",            promotion(repeated=repeated(700)),                            PROMOTE,  (f"{DELTA} holds", f"{MANY_NEW} holds")),
    Row("exactly half of the rows are old",       promotion(repeated=repeated(1000)),                           PROMOTE,  (f"{DELTA} holds", f"{MANY_NEW} holds")),
    Row("most rows are old",                      promotion(repeated=repeated(1001)),                           ESCALATE, (f"{MANY_NEW} fails",)),
    Row("most rows are old, for a first model",   first_model(repeated=repeated(1001)),                         ESCALATE, (f"{MANY_NEW} fails",)),
    Row("most rows may be old",                   promotion(repeated=repeated(1001)),                           PROMOTE,  (f"{MANY_NEW} holds",), with_promotion(max_repeated_share=0.6)),
    # -- a column of a first model that tells the target by itself
    Row("no column tells the target",             first_model(single_columns=(alone("fee", 0.99),)),            PROMOTE,  (f"{NO_LEAK} holds",)),
    Row("a column tells the target",              first_model(single_columns=(alone("fee", 0.9901),)),          ESCALATE, (f"{NO_LEAK} fails",)),
    Row("a person knows that it may",             first_model(single_columns=(alone("fee", 1.0, allowed=True),)), PROMOTE, (f"{NO_LEAK} holds",)),
    Row("one of two may",                         first_model(single_columns=(alone("fee", 1.0, allowed=True), alone("refund", 1.0))),
                                                                                                                ESCALATE, (f"{NO_LEAK} fails",)),
    Row("any column may",                         first_model(single_columns=(alone("fee", 1.0),)),             PROMOTE,  (f"{NO_LEAK} holds",), with_promotion(max_single_column_auc=1.0)),
    # -- slices: a protected one has to be known and unharmed, any other only informs; intervals come corrected for their number
    Row("a protected slice is unharmed",          promotion(sliced(delta(0.0))),                                PROMOTE,  (f"{SLICE} holds",)),
    Row("a protected slice, harmed by chance",    promotion(sliced(delta(-0.009))),                             PROMOTE,  (f"{SLICE} holds",)),
    Row("a protected slice is harmed",            promotion(sliced(delta(-0.05))),                              REJECT,   (f"{SLICE} fails",)),
    Row("another slice is harmed",                promotion(sliced(delta(-0.05), protected=False)),             PROMOTE,  (f"{SLICE} fails",)),
    Row("one of two protected slices is harmed",  promotion({"slices": (SENIORS_HARMED, STUDENTS_BETTER)}),     REJECT,   (f"{SLICE} fails", f"{OTHER} holds")),
    Row("a protected slice has too few rows",     promotion(sliced(delta(0.0), rows=99)),                       REJECT,   (f"{SLICE} unknown",)),
    Row("a protected slice has just enough",      promotion(sliced(delta(0.0), rows=100, rarest=10)),           PROMOTE,  (f"{SLICE} holds",)),
    Row("too few of one class to tell harm",      promotion(sliced(delta(0.0, 0.0), rarest=9)),                 REJECT,   (f"{SLICE} unknown",)),
    Row("a slice of too few customers",           promotion(sliced(delta(0.0), groups=9)),                      REJECT,   (f"{SLICE} unknown",)),
    Row("a slice of just enough customers",       promotion(sliced(delta(0.0), groups=10)),                     PROMOTE,  (f"{SLICE} holds",)),
    Row("the same, better as far as one can see", promotion(sliced(delta(0.05), rarest=9)),                     REJECT,   (f"{SLICE} unknown",)),
    Row("another slice has too few rows",         promotion(sliced(delta(-0.05), protected=False, rows=99)),    PROMOTE,  (f"{SLICE} unknown",)),
    Row("another slice is not measurable",        promotion(sliced(None, protected=False)),                     PROMOTE,  (f"{SLICE} unknown",)),
    Row("a first model cannot harm a slice",      first_model(sliced(None)),                                    PROMOTE,  (f"{DELTA} holds",)),
    # -- golden cases and the package
    Row("a golden case passes",                   promotion(golden=golden(True)),                               PROMOTE,  (f"{GOLDEN} holds",)),
    Row("a golden case fails",                    promotion(golden=golden(False)),                              REJECT,   (f"{GOLDEN} fails",)),
    Row("the package answers differently",        promotion(packaging_difference=2e-5),                         REJECT,   (f"{PACKAGE} fails",)),
    Row("the proved ONNX model will answer",       promotion(served_by="onnx"),                                  PROMOTE,  ("served as ONNX holds",)),
    Row("the pipeline will answer, and says why", promotion(served_by="pipeline", served_reason="a step"),      PROMOTE,  ("served as ONNX fails",)),
    Row("a window was kept out of training",      promotion(quarantined=("month_009",)),                        PROMOTE,  ("quarantined windows holds",)),
    Row("memory has no room for all rows",        promotion(learnt_rows=(340_000, 900_000)),                      PROMOTE,  ("rows learned from holds",)),
    Row("a window has no rows to learn from",     promotion(left_out=(("month_009", "no labels"),)),           PROMOTE,  ("windows left out of training holds",)),
    # -- blanks never open a gate
    Row("the candidate was not scored",           promotion(comparison=None),                                   REJECT,   ("candidate was scored unknown",)),
    Row("a class is missing: no val_auc",         promotion({"candidate": scores(None)}),                       REJECT,   ("val_auc unknown", f"{BASELINE} unknown")),
    Row("no delta, and nobody says why",          promotion({"delta": None}),                                   REJECT,   (f"{DELTA} unknown",)),
    Row("a protected slice has one class only",   promotion(sliced(None, rarest=0)),                            REJECT,   (f"{SLICE} unknown",)),
    Row("production's scores are missing",        promotion({"production": None, **sliced(None)}),              REJECT,   (f"{SLICE} unknown",)),
    Row("the package was not tried",              promotion(packaging_difference=None),                         REJECT,   (f"{PACKAGE} unknown",)),
    Row("a delta that is no number",              promotion({"delta": delta(float("nan"))}),                    REJECT,   (f"{DELTA} fails",)),
]
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_when_to_promote(row: Row) -> None:
    """Each situation of the table leads to its action, by the checks that it names and no other."""
    row.assert_holds(decide_promotion(row.evidence, row.policy))
