"""Scores of one model against scikit-learn, and golden cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_score, recall_score

from closedloop.errors import ModelError
from closedloop.metrics.scores import check_golden, score_model
from closedloop.use_case.contract import GoldenCase
from tests.made_answers import binary, several


def test_scores_are_scikit_learns() -> None:
    """Confusion, precision, recall, F1, accuracy, log-loss of three classes; Brier as the sum over
    classes."""
    labels, probabilities = several(300, 3, 4)
    scores = score_model(labels, probabilities, ("a", "b", "c"), "month_001")
    predicted = probabilities.argmax(axis=1)
    assert [score.precision for score in scores.classes] == pytest.approx(
        precision_score(labels, predicted, average=None)
    )
    assert [score.recall for score in scores.classes] == pytest.approx(
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
    assert [score.rows for score in scores.classes] == np.bincount(labels).tolist()


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


def test_golden_cases_pass_inside_their_bounds_only() -> None:
    """The probability of the named class is compared with the bounds, ends included; NaN passes
    nothing."""
    cases = tuple(
        GoldenCase(name, {}, "yes", 0.6, 0.9) for name in ("inside", "end", "below", "lost")
    )
    answers = np.array([[0.3, 0.7], [0.1, 0.9], [0.5, 0.5], [np.nan, np.nan]])
    results = check_golden(cases, answers, ("no", "yes"))
    assert [result.passed for result in results] == [True, True, False, False]
    assert results[2].wanted == "probability of yes from 0.6 to 0.9"
    assert results[2].got == "0.5000"
