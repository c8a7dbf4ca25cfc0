"""The manual of approval: which candidates that pass every gate wait for a person, one line a situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.approval import EVERY_PROMOTION, windows_left
from closedloop.decisions.checks import Action, Check, Kind, Outcome, Role
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.retraining import decide_retraining
from tests.spec.examples import (
    Row,
    delta,
    drifted,
    first_model,
    one_slice,
    promotion,
    retraining,
    scores,
    sliced,
    with_promotion,
)

PROMOTE, REJECT, WAIT = Action.PROMOTE, Action.REJECT, Action.WAIT
EVERY, UNCLEAR = f"{EVERY_PROMOTION} holds", "the gain is not clear holds"
CLEAR, SAME = "the gain is not clear fails", "another recipe than production's fails"
OTHER = "another recipe than production's holds"
BARELY, KNOWN = "slice seniors is only just known holds", "slice seniors is only just known fails"
DELTA, SLICE = "delta on month_010", "slice seniors is not harmed"
ALWAYS, BORDERLINE = with_promotion(approval="always"), with_promotion(approval="borderline")
BETTER = {"delta": delta(0.05)}
TRUSTING = with_promotion(approval="borderline", escalate_unscorable_production=False)
UNSCORED = {"production": None, "delta": None}

# fmt: off
TABLE = [
    # situation                                      evidence                                                  action    settled by                  policy
    # -- never: nobody is asked
    Row("nobody wants to be asked",                  promotion(),                                              PROMOTE,  (f"{DELTA} holds",)),
    # -- always: everybody who passes waits, nobody else
    Row("every promotion waits",                     promotion(BETTER),                                        WAIT,     (EVERY,),                   ALWAYS),
    Row("so does the first model",                   first_model(),                                            WAIT,     (EVERY,),                   ALWAYS),
    Row("a gate that is closed asks nobody",         promotion({"delta": delta(-0.05)}),                       REJECT,   (f"{DELTA} fails",),        ALWAYS),
    Row("what was not scored asks nobody",           promotion(comparison=None),                               REJECT,   ("candidate was scored unknown",), ALWAYS),
    # -- borderline: a gain that is not clear
    Row("clearly better",                            promotion(BETTER),                                        PROMOTE,  (CLEAR, SAME),              BORDERLINE),
    Row("as good as production",                     promotion(),                                              WAIT,     (UNCLEAR, SAME),            BORDERLINE),
    Row("the lower bound is at the limit",           promotion({"delta": delta(0.5, 0.25)}),                   PROMOTE,  (CLEAR,),                   with_promotion(approval="borderline", approval_min_delta=0.25)),
    Row("the lower bound is just below it",          promotion({"delta": delta(0.5, 0.25)}),                   WAIT,     (UNCLEAR,),                 with_promotion(approval="borderline", approval_min_delta=0.2501)),
    Row("a loss that is not significant",            promotion({"delta": delta(-0.005)}),                      WAIT,     (UNCLEAR,),                 BORDERLINE),
    Row("production cannot be scored",               promotion(UNSCORED, production_error="gone"),             WAIT,     (UNCLEAR, SAME),            TRUSTING),
    Row("a first model has nothing to be worse than", first_model(),                                           PROMOTE,  (f"{DELTA} holds",),        BORDERLINE),
    # -- borderline: another recipe
    Row("another recipe, clearly better",            promotion({**BETTER, "same_recipe": False}),              WAIT,     (CLEAR, OTHER),             BORDERLINE),
    Row("another recipe, not clearly better",        promotion({"same_recipe": False}),                        REJECT,   (f"{DELTA} fails",),        BORDERLINE),
    # -- borderline: a protected slice that is only just known
    Row("a slice with rows enough",                  promotion({**BETTER, **sliced(delta(0.0))}),              PROMOTE,  (KNOWN,),                   BORDERLINE),
    Row("a slice with rows just enough",             promotion({**BETTER, **sliced(delta(0.0), rows=200, rarest=20)}), PROMOTE, (KNOWN,),            BORDERLINE),
    Row("a slice with few rows",                     promotion({**BETTER, **sliced(delta(0.0), rows=199)}),    WAIT,     (CLEAR, BARELY),            BORDERLINE),
    Row("a slice of few customers of a class",       promotion({**BETTER, **sliced(delta(0.0), groups=19)}),   WAIT,     (CLEAR, BARELY),            BORDERLINE),
    Row("a slice with few rows of a class",          promotion({**BETTER, **sliced(delta(0.0), rarest=19)}),   WAIT,     (CLEAR, BARELY),            BORDERLINE),
    Row("a slice with too few rows is no question",  promotion({**BETTER, **sliced(delta(0.0), rows=99)}),     REJECT,   (f"{SLICE} unknown",),      BORDERLINE),
    Row("a slice that is not protected",             promotion({**BETTER, **sliced(delta(0.0), rows=150, protected=False)}), PROMOTE, (CLEAR,),      BORDERLINE),
    Row("one of two slices is barely known",         promotion({**BETTER, "slices": (one_slice("seniors", delta(0.0), rows=150), one_slice("students", delta(0.0)))}),
                                                                                                               WAIT,     (BARELY,),                  BORDERLINE),
]
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_when_a_person_is_asked(row: Row) -> None:
    """Each situation of the table leads to its action, by the checks that it names and no other."""
    row.assert_holds(decide_promotion(row.evidence, row.policy))


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.action is WAIT], ids=lambda row: row.situation
)
def test_what_waits_has_passed_every_gate(row: Row) -> None:
    """A person is never asked to overrule a gate, and each decision that waits says why it does."""
    decision = decide_promotion(row.evidence, row.policy)
    gates = [check for check in decision.checks if check.role is Role.GATE]
    assert gates
    assert all(check.outcome is Outcome.HOLDS for check in gates)
    assert decision.follows
    assert decision.reason.startswith("a person is asked: ")
    assert f"all {len(gates)} gates hold" in decision.reason


def test_a_wait_without_its_gates_does_not_follow() -> None:
    """A WAIT whose gate does not hold, or that nothing asked for, is not what the rule decides."""
    decision = decide_promotion(promotion(), ALWAYS)
    asked = next(check for check in decision.checks if check.role is Role.TRIGGER)
    closed = Check("delta", Outcome.FAILS, Role.GATE, "above 0", "-0.1")
    assert not replace(decision, checks=(asked, closed)).follows
    silent = tuple(check for check in decision.checks if check is not asked)
    assert not replace(decision, checks=silent).follows


def test_a_candidate_that_waits_is_the_only_one() -> None:
    """Drift starts no other training while a person is asked; a person may still ask for one."""
    drifting = drifted(0.5, 0.4, 0.0, 0.0)
    held = decide_retraining(retraining({"waiting": 7}, drift=drifting), with_promotion())
    assert held.action is Action.KEEP
    assert held.reason.endswith(
        "but decision 7 waits for a person: closedloop approve 7 or reject it"
    )
    asked = retraining({"waiting": 7}, drift=drifting, requested=True)
    assert decide_retraining(asked, with_promotion()).action is Action.RETRAIN
    assert held.kind is Kind.RETRAINING


@pytest.mark.parametrize(("waited", "left"), [(-3, 5), (0, 2), (2, 0), (3, -1)])
def test_a_candidate_waits_for_so_many_newer_windows(waited: int, left: int) -> None:
    """With the default of two, the third newer window ends the waiting."""
    assert windows_left(waited, with_promotion()) == left


def test_the_reason_names_what_asked_and_what_was_found() -> None:
    """A person reads in one line why it is asked and how the candidate did."""
    found = promotion({"same_recipe": False, "delta": delta(0.05), "candidate": scores(0.82)})
    assert decide_promotion(found, BORDERLINE).reason == (
        "a person is asked: logistic/all is another recipe than that of version 4; "
        "all 6 gates hold; val_auc: 0.8200; "
        "better than version 4 on the same rows: AUC +0.0500 [+0.0400, +0.0600] on 2000 rows"
    )
