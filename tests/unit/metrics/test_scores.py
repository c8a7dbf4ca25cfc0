"""Scoring: AUC and scores against scikit-learn, slices, golden cases, and everything a decision
reads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import (
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from closedloop.errors import ModelError
from closedloop.metrics.scores import (
    check_golden,
    compare,
    estimate_auc,
    measure_auc,
    measure_delta,
    measure_slices,
    score_model,
    slice_rows,
)
from closedloop.use_case.contract import GoldenCase, Slice
from tests.made_answers import binary, equal_models, several


def test_auc_is_scikit_learns() -> None:
    """Two classes and macro one-versus-rest for four, with ties."""
    labels, probabilities = binary(500, 6, 2)
    assert measure_auc(labels, probabilities) == pytest.approx(
        roc_auc_score(labels, probabilities[:, 1]), abs=1e-12
    )
    labels, probabilities = several(500, 4, 6)
    assert measure_auc(labels, probabilities) == pytest.approx(
        roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-12
    )


def test_an_absent_class_is_unknown() -> None:
    """No row of a class: no AUC. One row: an AUC, but no interval and no delta."""
    labels, probabilities = several(60, 3, 1)
    without, rows = labels != 2, np.flatnonzero(labels != 2)
    assert measure_auc(labels[without], probabilities[without]) is None
    one = np.r_[rows, np.flatnonzero(labels == 2)[0]]
    assert measure_auc(labels[one], probabilities[one]) is not None
    assert estimate_auc(labels[one], probabilities[one], 0.95) is None
    assert measure_delta(labels[one], probabilities[one], probabilities[one], 0.95) is None


@pytest.mark.parametrize(
    "probabilities",
    [
        np.full((3, 2), 0.5),
        np.full((4, 1), 1.0),
        np.full(4, 0.5),
        np.array([[0.5, 0.5]] * 3 + [[np.nan, 0.5]]),
    ],
    ids=["rows", "one class", "one dimension", "not a number"],
)
def test_what_does_not_fit_the_labels_is_refused(probabilities: NDArray[np.float64]) -> None:
    """A wrong shape or a NaN is an error with a next step, never a number."""
    with pytest.raises(ModelError, match="scoring: wanted finite probabilities for 4 rows"):
        measure_auc(np.array([0, 1, 0, 1]), probabilities)


def test_models_of_different_classes_are_not_compared() -> None:
    """Production with another number of classes is refused, so that the loop can escalate it."""
    with pytest.raises(ModelError, match="two models of the same classes"):
        measure_delta(np.array([0, 1, 0, 1]), np.full((4, 2), 0.5), np.full((4, 3), 0.3), 0.95)


def test_scores_are_scikit_learns() -> None:
    """Confusion, precision, recall, F1, accuracy, log-loss of three classes; Brier as the sum over
    classes."""
    labels, probabilities = several(300, 3, 4)
    scores = score_model(labels, probabilities, ("a", "b", "c"), "month_001")
    predicted = probabilities.argmax(axis=1)
    assert [one.precision for one in scores.classes] == pytest.approx(
        precision_score(labels, predicted, average=None)
    )
    assert [one.recall for one in scores.classes] == pytest.approx(
        recall_score(labels, predicted, average=None)
    )
    assert scores.f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores.log_loss == pytest.approx(log_loss(labels, probabilities))
    assert scores.brier == pytest.approx(
        np.square(probabilities - np.eye(3)[labels]).sum(axis=1).mean()
    )
    assert scores.accuracy == pytest.approx((labels == predicted).mean())
    assert sum(sum(line) for line in scores.confusion) == scores.rows == 300
    assert scores.confusion[0][1] == ((labels == 0) & (predicted == 1)).sum()
    assert [one.rows for one in scores.classes] == np.bincount(labels).tolist()


def test_brier_of_two_classes_is_the_usual_half() -> None:
    """The mean of (p1 - y)^2, as scikit-learn has it."""
    labels, probabilities = binary(200, 4)
    assert score_model(labels, probabilities, ("no", "yes"), "w").brier == pytest.approx(
        brier_score_loss(labels, probabilities[:, 1])
    )


def test_a_class_never_predicted_has_precision_0_and_a_sure_mistake_a_finite_loss() -> None:
    """0/0 is 0, and log-loss is clipped at 1e-15."""
    scores = score_model(np.array([0, 0, 1]), np.array([[1.0, 0.0]] * 3), ("no", "yes"), "w")
    assert (scores.classes[1].precision, scores.classes[1].recall, scores.classes[1].f1) == (
        0.0,
        0.0,
        0.0,
    )
    assert scores.log_loss == pytest.approx(-np.log(1e-15) / 3)


def test_no_labelled_row_cannot_be_scored() -> None:
    """An empty window is an error that says what to wait for."""
    with pytest.raises(ModelError, match="scores on month_004: wanted at least one labelled row"):
        score_model(np.array([], dtype=int), np.empty((0, 2)), ("no", "yes"), "month_004")


FRAME = pd.DataFrame(
    {"plan": ["basic", "pro", "(missing)", "pro"], "fee": [1.0, 10.0, np.nan, 20.0]}
)


def test_slices_choose_rows() -> None:
    """Values for categorical columns, [minimum, maximum) for numeric ones; a null is in no numeric
    slice."""
    assert slice_rows(FRAME, Slice("s", "plan", values=("pro", "(missing)"))).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert slice_rows(FRAME, Slice("s", "fee", minimum=10, maximum=20)).tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert slice_rows(FRAME, Slice("s", "fee", minimum=10)).tolist() == [False, True, False, True]
    assert slice_rows(FRAME, Slice("s", "fee", maximum=20)).tolist() == [True, True, False, False]


def _sliced(
    rows: int,
) -> tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    labels, candidate = binary(rows, 1)
    frame = pd.DataFrame(
        {
            "plan": np.where(
                np.arange(rows) < 3, "rare", np.where(np.arange(rows) % 2, "basic", "pro")
            )
        }
    )
    return frame, labels, candidate, binary(rows, 2)[1]


def test_slices_are_compared_at_a_corrected_confidence() -> None:
    """Two protected slices at 95 % are each measured at 97.5 %, and the one that only informs at 95
    %: it is a family of its own."""
    frame, labels, candidate, production = _sliced(300)
    slices = (
        Slice("basic", "plan", values=("basic",), protected=True),
        Slice("pro", "plan", values=("pro",)),
        Slice("rare", "plan", values=("rare",), protected=True),
    )
    found = measure_slices(frame, slices, labels, candidate, production, 0.95)
    basic, pro = (frame["plan"] == "basic").to_numpy(), (frame["plan"] == "pro").to_numpy()
    assert found[0].delta == measure_delta(
        labels[basic], candidate[basic], production[basic], 0.975
    )
    assert found[1].delta == measure_delta(labels[pro], candidate[pro], production[pro], 0.95)
    assert [(one.name, one.protected, one.rows) for one in found] == [
        ("basic", True, 149),
        ("pro", False, 148),
        ("rare", True, 3),
    ]
    assert [one.rarest for one in found] == [
        min(np.bincount(labels[rows])) for rows in (basic, pro, ~basic & ~pro)
    ]
    assert found[2].delta is None


def test_a_slice_that_only_informs_does_not_widen_a_protected_one() -> None:
    """Declaring ten more slices to look at leaves the protected slice's interval as it was: no gate
    opens by being watched."""
    frame, labels, candidate, production = _sliced(300)
    protected = Slice("basic", "plan", values=("basic",), protected=True)
    more = tuple(Slice(f"pro {number}", "plan", values=("pro",)) for number in range(10))
    alone = measure_slices(frame, (protected,), labels, candidate, production, 0.95)
    assert (
        measure_slices(frame, (protected, *more), labels, candidate, production, 0.95)[0]
        == alone[0]
    )


def _five_plans() -> tuple[pd.DataFrame, NDArray[np.int64], tuple[Slice, ...]]:
    at = np.arange(1000)
    slices = tuple(
        Slice(f"plan {plan}", "plan", minimum=plan, maximum=plan + 1, protected=True)
        for plan in range(5)
    )
    return pd.DataFrame({"plan": at % 5}), (at // 5 % 5 < 2).astype(np.int64), slices


def test_five_slices_cry_wolf_no_more_often_than_one() -> None:
    """A candidate as good as production is told to harm one of five slices in about 2.5 % of 400
    comparisons; uncorrected, in 12 %."""
    frame, labels, slices = _five_plans()
    corrected, alone = [], []
    for seed in range(400):
        candidate, production = equal_models(labels, seed)
        found = measure_slices(frame, slices, labels, candidate, production, 0.95)
        corrected.append(any(one.delta is not None and one.delta.upper < 0 for one in found))
        each = [
            measure_slices(frame, (one,), labels, candidate, production, 0.95)[0].delta
            for one in slices
        ]
        alone.append(any(one is not None and one.upper < 0 for one in each))
    assert np.mean(corrected) <= 0.05
    assert np.mean(alone) >= 0.08


def test_holm_would_close_the_same_gates() -> None:
    """Some protected slice is harmed by its corrected interval exactly when Holm's stepwise test of
    the same slices finds one harmed."""
    frame, labels, slices = _five_plans()
    verdicts = []
    for seed in range(60):
        candidate, production = equal_models(labels, seed)
        candidate[frame["plan"] == seed % 5] *= np.random.default_rng(seed).uniform(-0.5, 1)
        found = measure_slices(frame, slices, labels, candidate, production, 0.95)
        harmed = any(one.delta is not None and one.delta.upper < 0 for one in found)
        each = [
            measure_slices(frame, (one,), labels, candidate, production, 0.95)[0].delta
            for one in slices
        ]
        chances = sorted(
            float(norm.cdf(one.value / (one.upper - one.value) * norm.ppf(0.975)))
            for one in each
            if one is not None
        )
        held = [chance < 0.025 / (5 - step) for step, chance in enumerate(chances)]
        found_by_holm = held.index(False) if False in held else 5
        assert harmed == (found_by_holm > 0)
        verdicts.append(harmed)
    assert 10 < sum(verdicts) < 50


def test_compare_scores_both_models_on_their_own_answers() -> None:
    """The production score comes from production's probabilities and the candidate's from the
    candidate's, on the same rows."""
    frame, labels, candidate, production = _sliced(300)
    facts = {
        "frame": frame,
        "labels": labels,
        "classes": ("no", "yes"),
        "slices": (Slice("pro", "plan", values=("pro",)),),
        "confidence": 0.9,
    }
    found = compare(
        recipe="logistic/all",
        window="w",
        candidate=candidate,
        production=production,
        baseline_auc=0.6,
        held_out=False,
        same_recipe=True,
        **facts,
    )  # type: ignore[arg-type]
    assert found.candidate == score_model(labels, candidate, ("no", "yes"), "w")
    assert found.production == score_model(labels, production, ("no", "yes"), "w")
    assert found.candidate != found.production
    assert found.delta == measure_delta(labels, candidate, production, 0.9)
    assert found.delta is not None
    assert found.delta.value == pytest.approx(
        (found.candidate.val_auc or 0) - (found.production.val_auc or 0)
        if found.production
        else None
    )
    assert (found.recipe, found.window, found.baseline_auc, found.held_out, found.same_recipe) == (
        "logistic/all",
        "w",
        0.6,
        False,
        True,
    )
    first = compare(
        recipe="logistic/all",
        window="w",
        candidate=candidate,
        production=None,
        baseline_auc=0.6,
        held_out=True,
        same_recipe=False,
        **facts,
    )  # type: ignore[arg-type]
    assert (first.production, first.delta, first.slices[0].delta, first.slices[0].rows) == (
        None,
        None,
        None,
        148,
    )


def test_golden_cases_pass_inside_their_bounds_only() -> None:
    """The probability of the named class is held against the bounds, ends included; NaN passes
    nothing."""
    cases = tuple(
        GoldenCase(name, {}, "yes", 0.6, 0.9) for name in ("inside", "end", "below", "lost")
    )
    answers = np.array([[0.3, 0.7], [0.1, 0.9], [0.5, 0.5], [np.nan, np.nan]])
    results = check_golden(cases, answers, ("no", "yes"))
    assert [one.passed for one in results] == [True, True, False, False]
    assert results[2].wanted == "probability of yes from 0.6 to 0.9"
    assert results[2].got == "0.5000"
