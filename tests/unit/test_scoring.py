"""Scoring: AUC, its interval and delta against the textbook and against scikit-learn, and everything a decision reads."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_score, recall_score, roc_auc_score

from closedloop.errors import ModelError
from closedloop.scoring import check_golden, compare, estimate_auc, measure_auc, measure_delta, measure_slices, score_model, slice_rows
from closedloop.use_case import GoldenCase, Slice

Z95 = float(norm.ppf(0.975))


def _binary(rows: int, seed: int, decimals: int = 3, strength: float = 1.0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.4).astype(np.int64)
    labels[:4] = [0, 1, 0, 1]
    positive = np.round(1 / (1 + np.exp(-(strength * labels + rng.normal(size=rows) - 0.5))), decimals)
    return labels, np.column_stack([1 - positive, positive])


def _several(rows: int, classes: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), np.arange(classes), rng.integers(0, classes, rows - 2 * classes)]
    raw = np.round(np.exp(rng.normal(size=(rows, classes)) + np.eye(classes)[labels]), 1) + 0.1
    return labels, raw / raw.sum(axis=1, keepdims=True)


def _kernel(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every positive against every negative: 1 when it is above, a half when it ties."""
    above, below = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return np.asarray((above > below) + 0.5 * (above == below))


def _textbook_variance(labels: NDArray[np.int64], first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """DeLong 1988, equations 3 to 6, for the contrast (1, -1)."""
    kernels = [_kernel(labels, scores) for scores in (first, second)]
    positives, negatives = np.cov([k.mean(axis=1) for k in kernels]), np.cov([k.mean(axis=0) for k in kernels])
    covariance = positives / kernels[0].shape[0] + negatives / kernels[0].shape[1]
    return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


@pytest.mark.parametrize("decimals", [1, 2, 8])
@pytest.mark.parametrize("rows", [10, 57, 400])
def test_delta_is_the_textbooks(rows: int, decimals: int) -> None:
    """Value and interval agree to 1e-9 with the O(mn) form, with many ties, few and none."""
    labels, candidate = _binary(rows, 1, decimals)
    _, production = _binary(rows, 2, decimals)
    delta = measure_delta(labels, candidate, production, 0.95)
    assert delta is not None
    value = _kernel(labels, candidate[:, 1]).mean() - _kernel(labels, production[:, 1]).mean()
    reach = Z95 * np.sqrt(_textbook_variance(labels, candidate[:, 1], production[:, 1]))
    assert [delta.value, delta.lower, delta.upper] == pytest.approx([value, value - reach, value + reach], abs=1e-9)
    assert delta.rows == rows


def test_interval_of_one_auc_is_the_textbooks() -> None:
    """Against a model that knows nothing, whose variance is 0, the textbook's contrast is the variance of the one model."""
    labels, candidate = _binary(300, 3, 2, strength=0.3)
    estimate = estimate_auc(labels, candidate, 0.95)
    assert estimate is not None
    reach = Z95 * np.sqrt(_textbook_variance(labels, candidate[:, 1], np.zeros(300)))
    assert [estimate.upper - estimate.value, estimate.value - estimate.lower] == pytest.approx([reach, reach], abs=1e-9)


def test_interval_of_an_auc_stays_inside_0_to_1() -> None:
    """A nearly perfect model on few rows does not claim an AUC above 1."""
    labels, candidate = _binary(12, 5, 8, strength=2.0)
    estimate = estimate_auc(labels, candidate, 0.99)
    assert estimate is not None
    assert 0 <= estimate.lower < estimate.value < estimate.upper <= 1


def test_auc_is_scikit_learns() -> None:
    """Two classes and macro one-versus-rest for four, with ties."""
    labels, probabilities = _binary(500, 6, 2)
    assert measure_auc(labels, probabilities) == pytest.approx(roc_auc_score(labels, probabilities[:, 1]), abs=1e-12)
    labels, probabilities = _several(500, 4, 6)
    assert measure_auc(labels, probabilities) == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-12)


def test_delta_of_several_classes_averages_row_by_row() -> None:
    """The macro interval agrees with a jackknife over rows, which knows nothing of influence."""
    labels, candidate = _several(400, 3, 7)
    _, production = _several(400, 3, 8)
    delta = measure_delta(labels, candidate, production, 0.95)
    kept = [np.delete(np.arange(400), row) for row in range(400)]
    left_out = [(measure_auc(labels[k], candidate[k]) or 0) - (measure_auc(labels[k], production[k]) or 0) for k in kept]
    reach = Z95 * np.sqrt(399 / 400 * np.square(np.array(left_out) - np.mean(left_out)).sum())
    assert delta is not None
    assert delta.value == pytest.approx(
        roc_auc_score(labels, candidate, multi_class="ovr") - roc_auc_score(labels, production, multi_class="ovr")
    )
    assert delta.upper - delta.value == pytest.approx(reach, rel=0.02)


SCORES = hnp.arrays(float, 30, elements=st.integers(0, 8).map(lambda eighths: eighths / 8))


@given(labels=hnp.arrays(np.int64, 30, elements=st.integers(0, 1)), first=SCORES, second=SCORES)
@settings(deadline=None)
def test_swapping_the_models_negates_delta(labels: NDArray[np.int64], first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    """Exactly, in value and interval; and a model against itself is 0 with no width: the gate favours no side."""
    assume(2 <= labels.sum() <= 28)
    one, two = np.column_stack([1 - first, first]), np.column_stack([1 - second, second])
    there, back, itself = (measure_delta(labels, a, b, 0.95) for a, b in ((one, two), (two, one), (one, one)))
    assert there is not None
    assert back is not None
    assert (back.value, back.lower, back.upper) == (-there.value, -there.upper, -there.lower)
    assert itself is not None
    assert (itself.value, itself.lower, itself.upper) == (0.0, 0.0, 0.0)


def test_the_interval_covers_what_it_claims() -> None:
    """Of 400 comparisons of two equally good models about 95 % of the 95 % intervals hold 0."""
    held = 0
    for seed in range(400):
        labels, candidate = _binary(300, 2 * seed, 8)
        rng = np.random.default_rng(2 * seed + 1)
        raw = labels + rng.normal(size=300)
        delta = measure_delta(labels, candidate, np.column_stack([-raw, raw]), 0.95)
        assert delta is not None
        held += delta.lower <= 0 <= delta.upper
    assert 0.92 <= held / 400 <= 0.98


def test_100_000_rows_take_a_tenth_of_a_second() -> None:
    """The best of five, so that a busy machine does not fail it."""
    labels, candidate = _binary(100_000, 1, 8)
    _, production = _binary(100_000, 2, 8)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        measure_delta(labels, candidate, production, 0.95)
        took.append(time.perf_counter() - start)
    assert min(took) <= 0.1


def test_an_absent_class_is_unknown() -> None:
    """No row of a class: no AUC. One row: an AUC, but no interval and no delta."""
    labels, probabilities = _several(60, 3, 1)
    without, rows = labels != 2, np.flatnonzero(labels != 2)
    assert measure_auc(labels[without], probabilities[without]) is None
    one = np.r_[rows, np.flatnonzero(labels == 2)[0]]
    assert measure_auc(labels[one], probabilities[one]) is not None
    assert estimate_auc(labels[one], probabilities[one], 0.95) is None
    assert measure_delta(labels[one], probabilities[one], probabilities[one], 0.95) is None


@pytest.mark.parametrize(
    "probabilities",
    [np.full((3, 2), 0.5), np.full((4, 1), 1.0), np.full(4, 0.5), np.array([[0.5, 0.5]] * 3 + [[np.nan, 0.5]])],
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
    """Confusion, precision, recall, F1, accuracy, log-loss of three classes; Brier as the sum over classes."""
    labels, probabilities = _several(300, 3, 4)
    scores = score_model(labels, probabilities, ("a", "b", "c"), "month_001")
    predicted = probabilities.argmax(axis=1)
    assert [one.precision for one in scores.classes] == pytest.approx(precision_score(labels, predicted, average=None))
    assert [one.recall for one in scores.classes] == pytest.approx(recall_score(labels, predicted, average=None))
    assert scores.f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores.log_loss == pytest.approx(log_loss(labels, probabilities))
    assert scores.brier == pytest.approx(np.square(probabilities - np.eye(3)[labels]).sum(axis=1).mean())
    assert scores.accuracy == pytest.approx((labels == predicted).mean())
    assert sum(sum(line) for line in scores.confusion) == scores.rows == 300
    assert scores.confusion[0][1] == ((labels == 0) & (predicted == 1)).sum()
    assert [one.rows for one in scores.classes] == np.bincount(labels).tolist()


def test_brier_of_two_classes_is_the_usual_half() -> None:
    """The mean of (p1 - y)^2, as scikit-learn has it."""
    labels, probabilities = _binary(200, 4)
    assert score_model(labels, probabilities, ("no", "yes"), "w").brier == pytest.approx(brier_score_loss(labels, probabilities[:, 1]))


def test_a_class_never_predicted_has_precision_0_and_a_sure_mistake_a_finite_loss() -> None:
    """0/0 is 0, and log-loss is clipped at 1e-15."""
    scores = score_model(np.array([0, 0, 1]), np.array([[1.0, 0.0]] * 3), ("no", "yes"), "w")
    assert (scores.classes[1].precision, scores.classes[1].recall, scores.classes[1].f1) == (0.0, 0.0, 0.0)
    assert scores.log_loss == pytest.approx(-np.log(1e-15) / 3)


def test_no_labelled_row_cannot_be_scored() -> None:
    """An empty window is an error that says what to wait for."""
    with pytest.raises(ModelError, match="scores on month_004: wanted at least one labelled row"):
        score_model(np.array([], dtype=int), np.empty((0, 2)), ("no", "yes"), "month_004")


FRAME = pd.DataFrame({"plan": ["basic", "pro", "(missing)", "pro"], "fee": [1.0, 10.0, np.nan, 20.0]})


def test_slices_choose_rows() -> None:
    """Values for categorical columns, [minimum, maximum) for numeric ones; a null is in no numeric slice."""
    assert slice_rows(FRAME, Slice("s", "plan", values=("pro", "(missing)"))).tolist() == [False, True, True, True]
    assert slice_rows(FRAME, Slice("s", "fee", minimum=10, maximum=20)).tolist() == [False, True, False, False]
    assert slice_rows(FRAME, Slice("s", "fee", minimum=10)).tolist() == [False, True, False, True]
    assert slice_rows(FRAME, Slice("s", "fee", maximum=20)).tolist() == [True, True, False, False]


def _sliced(rows: int) -> tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    labels, candidate = _binary(rows, 1)
    frame = pd.DataFrame({"plan": np.where(np.arange(rows) < 3, "rare", np.where(np.arange(rows) % 2, "basic", "pro"))})
    return frame, labels, candidate, _binary(rows, 2)[1]


def test_slices_are_compared_at_a_corrected_confidence() -> None:
    """Three slices at 95 %: each interval is one of 1 - 0.05/3; a slice with too little to compare is unknown."""
    frame, labels, candidate, production = _sliced(300)
    slices = (
        Slice("basic", "plan", values=("basic",), protected=True),
        Slice("pro", "plan", values=("pro",)),
        Slice("rare", "plan", values=("rare",)),
    )
    found = measure_slices(frame, slices, labels, candidate, production, 0.95)
    basic = (frame["plan"] == "basic").to_numpy()
    assert found[0].delta == measure_delta(labels[basic], candidate[basic], production[basic], 1 - 0.05 / 3)
    assert [(one.name, one.protected, one.rows) for one in found] == [("basic", True, 149), ("pro", False, 148), ("rare", False, 3)]
    assert found[2].delta is None


def test_compare_scores_both_models_on_their_own_answers() -> None:
    """The production score comes from production's probabilities and the candidate's from the candidate's, on the same rows."""
    frame, labels, candidate, production = _sliced(300)
    facts = {
        "frame": frame,
        "labels": labels,
        "classes": ("no", "yes"),
        "slices": (Slice("pro", "plan", values=("pro",)),),
        "confidence": 0.9,
    }
    found = compare(recipe="logistic/all", window="w", candidate=candidate, production=production, baseline_auc=0.6, held_out=False,
                    same_recipe=True, **facts)  # type: ignore[arg-type]  # fmt: skip
    assert found.candidate == score_model(labels, candidate, ("no", "yes"), "w")
    assert found.production == score_model(labels, production, ("no", "yes"), "w")
    assert found.candidate != found.production
    assert found.delta == measure_delta(labels, candidate, production, 0.9)
    assert found.delta is not None
    assert found.delta.value == pytest.approx(
        (found.candidate.val_auc or 0) - (found.production.val_auc or 0) if found.production else None
    )
    assert (found.recipe, found.window, found.baseline_auc, found.held_out, found.same_recipe) == ("logistic/all", "w", 0.6, False, True)
    first = compare(recipe="logistic/all", window="w", candidate=candidate, production=None, baseline_auc=0.6, held_out=True,
                    same_recipe=False, **facts)  # type: ignore[arg-type]  # fmt: skip
    assert (first.production, first.delta, first.slices[0].delta, first.slices[0].rows) == (None, None, None, 148)


def test_golden_cases_pass_inside_their_bounds_only() -> None:
    """The probability of the named class is held against the bounds, ends included; NaN passes nothing."""
    cases = tuple(GoldenCase(name, {}, "yes", 0.6, 0.9) for name in ("inside", "end", "below", "lost"))
    answers = np.array([[0.3, 0.7], [0.1, 0.9], [0.5, 0.5], [np.nan, np.nan]])
    results = check_golden(cases, answers, ("no", "yes"))
    assert [one.passed for one in results] == [True, True, False, False]
    assert results[2].wanted == "probability of yes from 0.6 to 0.9"
    assert results[2].got == "0.5000"
