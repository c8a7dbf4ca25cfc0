"""From probabilities to one class: the chosen threshold is the best of all that there are."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from closedloop.decisions.policy import PromotionPolicy
from closedloop.metrics.deciding_measure import estimate_measure
from closedloop.metrics.threshold import answer_classes, choose_threshold
from closedloop.use_case.contract import AnswerRule
from tests.made_answers import Floats, Labels, binary

COST = ((0.0, 1.0), (5.0, 0.5))
RULES = PromotionPolicy(cost=COST)


def _worth(kind: str, labels: Labels, answers: Labels) -> float:
    """What the rule wants more of, by scikit-learn and by hand."""
    if kind == "f1":
        return float(f1_score(labels, answers))
    if kind == "cost":
        return -float(np.asarray(COST)[labels, answers].sum())
    precise = precision_score(labels, answers, zero_division=0) >= 0.7
    return float(recall_score(labels, answers)) if precise else -1.0


@pytest.mark.parametrize("share", [0.4, 0.03])
@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("kind", ["f1", "cost", "recall_at_precision"])
def test_no_other_threshold_is_better(kind: str, decimals: int, share: float) -> None:
    """Of all that tell rows apart, with ties and without, for a class of 40 % and one of 3 %; and
    no row is so near that rounding moves it across."""
    labels, probabilities = binary(400, 3, decimals, strength=3.0, share=share)
    rule = AnswerRule(choose=kind, min_precision=0.7)  # type: ignore[arg-type]  # parametrized
    threshold = choose_threshold(labels, probabilities, rule, RULES)
    assert threshold is not None
    found = _worth(kind, labels, answer_classes(probabilities, threshold))
    others = [
        _worth(kind, labels, answer_classes(probabilities, other))
        for other in np.unique(probabilities[:, 1])
    ]
    assert found == pytest.approx(max(others))
    assert np.abs(probabilities[:, 1] - threshold).min() > 1e-7


def test_a_precision_that_no_threshold_reaches_gives_the_nearest() -> None:
    """The highest precision there is, not the most recall."""
    labels = np.array([0, 1, 0, 1, 0, 0])
    positive = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    probabilities = np.column_stack([1 - positive, positive])
    rule = AnswerRule(choose="recall_at_precision", min_precision=0.8)
    # 0/1, 1/2, 1/3, 2/4: the first half is the best.
    assert choose_threshold(labels, probabilities, rule, RULES) == pytest.approx(0.75)


def test_nobody_is_answered_yes_where_that_costs_least() -> None:
    """A false alarm that is dearer than all misses: no row is above the threshold."""
    labels, probabilities = binary(200, 3, 8, strength=1.0, share=0.1)
    rules = PromotionPolicy(cost=((0.0, 1000.0), (1.0, 0.0)))
    threshold = choose_threshold(labels, probabilities, AnswerRule(choose="cost"), rules)
    assert not answer_classes(probabilities, threshold).any()


def test_the_cost_that_decides_is_that_of_the_answers_given() -> None:
    """The threshold that serves is the one at which the measure charges."""
    labels, probabilities = binary(400, 3, 8, strength=2.0, share=0.2)
    rules = PromotionPolicy(measure="cost", cost=COST)
    threshold = choose_threshold(labels, probabilities, AnswerRule(), rules)
    assert threshold == pytest.approx(1 / 5.5)
    answers = answer_classes(probabilities, threshold)
    estimate = estimate_measure(labels, probabilities, rules)
    assert estimate is not None
    assert -estimate.value == pytest.approx(np.asarray(COST)[labels, answers].mean())
    assert answers.tolist() == (probabilities @ np.asarray(COST)).argmin(axis=1).tolist()


def test_without_a_rule_the_likeliest_class_is_the_answer() -> None:
    """0.5 as it stands in loop.toml changes no answer, also of a tie; another one is taken as it
    is, itself included."""
    tied: Floats = np.array([[0.5, 0.5], [0.7, 0.3], [0.3, 0.7]])
    labels = np.array([0, 1, 1])
    assert choose_threshold(labels, tied, AnswerRule(), RULES) is None
    assert answer_classes(tied, None).tolist() == [0, 0, 1]
    assert choose_threshold(labels, tied, AnswerRule(threshold=0.3), RULES) == 0.3
    assert answer_classes(tied, 0.3).tolist() == [1, 1, 1]
