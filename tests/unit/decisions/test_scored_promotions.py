"""From rows to a verdict: what is measured on small, degenerate and harmed windows, and what the
gate makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.decisions.checks import Action, Decision, Outcome
from closedloop.decisions.evidence import Estimate, GoldenResult, PromotionEvidence, Window
from closedloop.decisions.policy import Policy, PromotionPolicy
from closedloop.decisions.promotion import decide_promotion
from closedloop.metrics.auc import estimate_auc, measure_delta
from closedloop.metrics.comparison import compare
from closedloop.metrics.scores import check_golden
from closedloop.use_case.contract import Slice
from closedloop.use_case.loop_toml import load_use_case
from tests.made_answers import Floats, Labels, equal_models

REPOSITORY = Path(__file__).resolve().parents[3]
WINDOW = Window("month_003", 3, 600, 600, (("no", 400), ("yes", 200)), "d" * 64)
# Only what compares with production can close the gate.
LENIENT = PromotionPolicy(
    min_val_auc=0, min_f1=0, min_gain_over_baseline=0, min_rows=1, min_rows_per_class=1
)
LABELS = (np.arange(600) % 3 == 0).astype(np.int64)
PERFECT = np.column_stack([1.0 - LABELS, LABELS])
TIED = np.full((600, 2), 0.5)


def _two_columns(scores: Floats) -> Floats:
    """Probabilities of two classes that rank the rows as the scores do."""
    positive = 1 / (1 + np.exp(-scores))
    return np.column_stack([1 - positive, positive])


ORDINARY = equal_models(LABELS, 5)[0]


def _evidence(
    candidate: Floats,
    production: Floats | None,
    *,
    labels: Labels = LABELS,
    same_recipe: bool = True,
    slices: tuple[Slice, ...] = (),
) -> PromotionEvidence:
    frame = pd.DataFrame({"plan": np.where(np.arange(len(labels)) % 6 < 3, "basic", "pro")})
    comparison = compare(
        recipe="logistic/all",
        window="month_003",
        frame=frame,
        labels=labels,
        classes=("no", "yes"),
        slices=slices,
        candidate=candidate,
        production=production,
        baseline_auc=0.0,
        held_out=False,
        same_recipe=same_recipe,
        confidence=0.95,
    )
    return PromotionEvidence(WINDOW, 5, None if production is None else 4, comparison, 0.0)


def _decide(evidence: PromotionEvidence) -> Decision:
    return decide_promotion(evidence, Policy(promotion=LENIENT))


def _outcomes_of_delta(decision: Decision) -> set[Outcome]:
    return {check.outcome for check in decision.checks if check.claim == "delta on month_003"}


@pytest.mark.parametrize(
    "answers",
    [ORDINARY, PERFECT, TIED, 1 - PERFECT],
    ids=["ordinary", "perfect", "tied", "reversed"],
)
def test_identical_models_of_one_recipe_are_not_worse_and_of_two_not_better(
    answers: Floats,
) -> None:
    """Delta is exactly 0 with no width, however the rows are ranked: it holds for a refit, another
    recipe has shown nothing."""
    refit = _evidence(answers, answers.copy())
    assert refit.comparison is not None
    assert refit.comparison.delta == Estimate(0.0, 0.0, 0.0, 600)
    assert _outcomes_of_delta(_decide(refit)) == {Outcome.HOLDS}
    other = _decide(_evidence(answers, answers.copy(), same_recipe=False))
    assert _outcomes_of_delta(other) == {Outcome.FAILS}
    assert "another recipe must be better by more than 0" in other.reason


def test_another_scale_of_the_same_ranking_is_the_same_model() -> None:
    """Probabilities that differ but rank alike give exactly 0, not a rounding error on the wrong
    side of it."""
    assert measure_delta(LABELS, _two_columns(ORDINARY[:, 1] * 5), ORDINARY, 0.95) == Estimate(
        0.0, 0.0, 0.0, 600
    )


@pytest.mark.parametrize(
    ("candidate", "production", "delta", "same_recipe", "action"),
    [
        (PERFECT, TIED, 0.5, False, Action.PROMOTE),
        (TIED, PERFECT, -0.5, True, Action.REJECT),
        (1 - PERFECT, PERFECT, -1.0, True, Action.REJECT),
    ],
    ids=["perfect after tied", "tied after perfect", "reversed after perfect"],
)
def test_no_spread_is_no_doubt(
    candidate: Floats, production: Floats, delta: float, same_recipe: bool, action: Action
) -> None:
    """Perfect separation and one score for all have variance 0: the bounds are the value itself,
    and the verdict follows its sign."""
    evidence = _evidence(candidate, production, same_recipe=same_recipe)
    assert evidence.comparison is not None
    assert evidence.comparison.delta == Estimate(delta, delta, delta, 600)
    assert _decide(evidence).action is action


def test_intervals_of_one_degenerate_model_stay_inside_0_to_1() -> None:
    """Perfect is 1 and tied 0.5, with bounds of no width, and nothing is divided by zero on the
    way."""
    assert estimate_auc(LABELS, PERFECT, 0.95) == Estimate(1.0, 1.0, 1.0, 600)
    assert estimate_auc(LABELS, TIED, 0.95) == Estimate(0.5, 0.5, 0.5, 600)


@pytest.mark.parametrize("positives", [0, 1])
def test_a_class_with_one_row_is_unknown_and_closes_the_gate(positives: int) -> None:
    """Even identical models are not promoted on a window where a class has no spread to be
    measured; the check says unknown."""
    labels = (np.arange(600) < positives).astype(np.int64)
    decision = _decide(_evidence(ORDINARY, ORDINARY, labels=labels))
    assert decision.action is Action.REJECT
    assert _outcomes_of_delta(decision) == {Outcome.UNKNOWN}


BASIC = Slice("basic", "plan", values=("basic",), protected=True)


@pytest.mark.parametrize("protected", [True, False])
def test_harm_on_one_slice_closes_the_gate_when_it_is_protected(protected: bool) -> None:
    """A candidate that is better over all but loses its skill on one plan is held back for it only
    if the plan is protected."""
    better, production = equal_models(LABELS, 3)
    in_basic = np.arange(600) % 6 < 3
    candidate = np.where(in_basic[:, None], 0.5, _two_columns(6.0 * LABELS + production[:, 1]))
    candidate[in_basic] = _two_columns(np.random.default_rng(1).normal(size=in_basic.sum()))
    assert _decide(_evidence(better, production, slices=(BASIC,))).action is Action.PROMOTE
    decision = _decide(
        _evidence(candidate, production, slices=(replace(BASIC, protected=protected),))
    )
    harm = next(check for check in decision.checks if check.claim == "slice basic is not harmed")
    assert harm.outcome is Outcome.FAILS
    assert ("worse in slice basic" in decision.reason) is protected


def test_a_slice_with_two_rows_of_a_class_is_not_sure_of_itself() -> None:
    """Both models rank two positives of 300 rows perfectly: an interval of no width, yet the slice
    is unknown and the gate closed."""
    labels = LABELS * (np.arange(600) % 6 >= 3)
    labels[[0, 6]] = 1
    perfect = np.column_stack([1.0 - labels, labels])
    evidence = _evidence(perfect, perfect, labels=labels, slices=(BASIC,))
    assert evidence.comparison is not None
    assert evidence.comparison.slices[0].rarest == 2
    assert evidence.comparison.slices[0].delta == Estimate(0.0, 0.0, 0.0, 300)
    decision = _decide(evidence)
    assert decision.action is Action.REJECT
    told = "slice basic has too few rows to judge: 300 rows, 2 of the rarest class"
    assert decision.reason == told


def test_a_model_that_never_answers_the_rare_class_is_not_promoted() -> None:
    """With 1 % positives it is right on 99 % of the rows and ranks them well, yet its F1 is 0."""
    labels = (np.arange(6000) % 100 == 0).astype(np.int64)
    ranked = np.random.default_rng(2).normal(4.0 * labels)
    cautious, bold = _two_columns(ranked - 12), _two_columns(ranked - 3)
    assert cautious[:, 1].max() < 0.5
    first = decide_promotion(_evidence(cautious, None, labels=labels), Policy())
    assert first.action is Action.REJECT
    assert first.reason == (
        'F1 of yes: wanted at least 0.300, or choose = "f1" under [decision] for another '
        "threshold, got 0.0000"
    )
    after = decide_promotion(_evidence(cautious, bold, labels=labels), Policy())
    assert (after.action, after.reason) == (first.action, first.reason)
    assert decide_promotion(_evidence(bold, None, labels=labels), Policy()).action is Action.PROMOTE


def test_one_wrong_golden_answer_keeps_the_candidate_out() -> None:
    """The golden cases beside the built-in loop.toml, answered right, promote; each one alone,
    answered wrong, rejects and is named."""
    use_case = load_use_case(REPOSITORY / "data" / "streamflow")
    cases, classes = use_case.golden, use_case.target.classes
    assert len(cases) > 1

    def answering(wrong: int | None) -> tuple[GoldenResult, ...]:
        answers = np.empty((len(cases), 2))
        for number, case in enumerate(cases):
            outside = case.maximum + 0.01 if case.maximum < 1 else case.minimum - 0.01
            answer = outside if number == wrong else (case.minimum + case.maximum) / 2
            at = list(classes).index(case.label)
            answers[number, at], answers[number, 1 - at] = answer, 1 - answer
        return check_golden(cases, answers, classes)

    usual = _evidence(ORDINARY, ORDINARY)
    assert _decide(replace(usual, golden=answering(None))).action is Action.PROMOTE
    for number, case in enumerate(cases):
        decision = _decide(replace(usual, golden=answering(number)))
        assert decision.action is Action.REJECT
        assert decision.reason.startswith(f"golden case {case.name} failed: ")
