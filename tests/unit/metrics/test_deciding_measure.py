"""Every measure that can decide: its value, its paired interval, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from closedloop.decisions.deciding_measure import MEASURES, Measured
from closedloop.decisions.evidence import Estimate
from closedloop.decisions.policy import PromotionPolicy
from closedloop.metrics.auc import measure_delta
from closedloop.metrics.comparison import compare
from closedloop.metrics.deciding_measure import estimate_measure, influence_of, measure_candidate
from tests.made_answers import Floats, Labels, binary, equal_models, several

Z90, Z95 = float(norm.ppf(0.95)), float(norm.ppf(0.975))
UNEVEN = ((0.0, 1.0), (5.0, 0.0))
RULES = {
    name: PromotionPolicy(measure=name, cost=UNEVEN if name == "cost" else ())
    for name in ("average_precision", "log_loss", "brier", "cost")
}
each_measure = pytest.mark.parametrize("name", RULES)


def _value(name: str, labels: Labels, probabilities: Floats) -> float:
    return influence_of(RULES[name])(labels, probabilities)[0]


def _delta(name: str, labels: Labels, first: Floats, second: Floats) -> Estimate:
    delta = measure_delta(labels, first, second, 0.95, influence_of(RULES[name]))
    assert delta is not None
    return delta


def _equal_probabilities(labels: Labels, seed: int) -> tuple[Floats, Floats]:
    """Two equally good models that mostly agree, whose answers are about calibrated."""
    first, second = (
        1 / (1 + np.exp(-0.9 * (scores[:, 1] - 0.6) + 0.4)) for scores in equal_models(labels, seed)
    )
    return np.column_stack([1 - first, first]), np.column_stack([1 - second, second])


@pytest.mark.parametrize("decimals", [1, 3])
def test_values_are_scikit_learns_and_losses_are_turned_round(decimals: int) -> None:
    """Two classes with few and many ties, and three classes, averaged as macro one-versus-rest."""
    labels, answers = binary(500, 6, decimals)
    assert _value("average_precision", labels, answers) == pytest.approx(
        average_precision_score(labels, answers[:, 1])
    )
    assert _value("brier", labels, answers) == pytest.approx(
        -brier_score_loss(labels, answers[:, 1])
    )
    labels, answers = several(500, 3, 6)
    assert _value("average_precision", labels, answers) == pytest.approx(
        average_precision_score(np.eye(3)[labels], answers, average="macro")
    )
    assert _value("log_loss", labels, answers) == pytest.approx(-log_loss(labels, answers))
    assert MEASURES["log_loss"].turn(_value("log_loss", labels, answers)) > 0


def test_a_row_costs_what_its_cheapest_expected_answer_costs() -> None:
    """When a missed positive costs five false alarms, a probability of 0.2 is answered yes."""
    answers = np.array([[0.8, 0.2], [0.8, 0.2], [0.9, 0.1], [0.9, 0.1]])
    # Two rows answered yes, of which one is wrong and costs 1; two answered no, one of them at 5.
    assert _value("cost", np.array([1, 0, 1, 0]), answers) == pytest.approx(-1.5)


def _bootstrap_error(name: str, labels: Labels, first: Floats, second: Floats) -> float:
    rng = np.random.default_rng(11)
    drawn = rng.integers(0, len(labels), (1500, len(labels)))
    return float(
        np.std(
            [
                _value(name, labels[rows], first[rows]) - _value(name, labels[rows], second[rows])
                for rows in drawn
            ]
        )
    )


@each_measure
@pytest.mark.parametrize("kind", ["a rare class", "ties", "four classes"])
def test_the_standard_error_is_a_bootstraps(name: str, kind: str) -> None:
    """Within 7 % of 1,500 resamples of the rows, whose own error is 1.8 %."""
    if kind == "four classes":
        labels, candidate = several(500, 4, 3)
        production = candidate + 0.2 * np.random.default_rng(4).random(candidate.shape)
        production /= production.sum(axis=1, keepdims=True)
        if name == "cost":
            pytest.skip("the costs are those of two classes")
    else:
        labels = (np.arange(600) % (15 if kind == "a rare class" else 3) == 0).astype(np.int64)
        candidate, production = _equal_probabilities(labels, 5)
        if kind == "ties":
            candidate, production = (
                np.clip(np.round(answers, 1), 0.05, 0.95) for answers in (candidate, production)
            )
    delta = _delta(name, labels, candidate, production)
    assert (delta.upper - delta.value) / Z95 == pytest.approx(
        _bootstrap_error(name, labels, candidate, production), rel=0.07
    )


@each_measure
@pytest.mark.parametrize("rows", [200, 2000])
def test_equal_models_are_told_apart_as_often_as_the_policy_says(name: str, rows: int) -> None:
    """Of two equally good models 5 % differ at 5 % two-sided and 5 % are harmed at 5 % one-sided,
    within three and a half standard errors of chance."""
    repetitions = 1000
    labels = (np.arange(rows) % 5 < 2).astype(np.int64)
    found = [
        _delta(name, labels, *_equal_probabilities(labels, seed)) for seed in range(repetitions)
    ]
    signs = np.array([delta.value / (delta.upper - delta.value) * Z95 for delta in found])
    chance = 3.5 * np.sqrt(0.05 * 0.95 / repetitions)
    assert np.mean(np.abs(signs) > Z95) == pytest.approx(0.05, abs=chance)
    assert np.mean(signs < -Z90) == pytest.approx(0.05, abs=chance)


@each_measure
def test_swapping_the_models_negates_delta(name: str) -> None:
    """A model against itself is exactly 0 with no width; the better one has a delta above 0."""
    labels, good = binary(400, 7, strength=3.0)
    bad = np.column_stack([good[::-1, 0], good[::-1, 1]])
    there, back = _delta(name, labels, good, bad), _delta(name, labels, bad, good)
    assert there.lower > 0
    assert (back.value, back.lower, back.upper) == (-there.value, -there.upper, -there.lower)
    itself = _delta(name, labels, good, good)
    assert (itself.value, itself.lower, itself.upper) == (0.0, 0.0, 0.0)


@each_measure
def test_what_a_version_keeps_is_the_estimate_without_its_confidence(name: str) -> None:
    """Value and standard error agree with the interval, and one positive row has neither."""
    labels, answers = binary(300, 2)
    kept, estimate = (
        measure_candidate(labels, answers, RULES[name]),
        estimate_measure(labels, answers, RULES[name]),
    )
    assert estimate is not None
    assert kept is not None
    assert kept == Measured(name, estimate.value, pytest.approx(kept.error))
    assert estimate.upper - estimate.value == pytest.approx(Z95 * kept.error)
    alone = (np.arange(300) == 0).astype(np.int64)
    assert measure_candidate(alone, answers, RULES[name]) is None
    assert estimate_measure(alone, answers, RULES[name]) is None


def test_a_comparison_is_in_the_measure_and_keeps_its_auc() -> None:
    """Answers of the same ranking have no delta in AUC, and a sure one in log loss."""
    labels, calibrated = binary(2000, 3)
    timid = np.column_stack([1 - calibrated[:, 1] / 10, calibrated[:, 1] / 10])
    found = {
        name: compare(
            recipe="logistic/all",
            window="w",
            frame=None,  # type: ignore[arg-type]  # without slices no row is looked at
            labels=labels,
            classes=("no", "yes"),
            slices=(),
            candidate=calibrated,
            production=timid,
            baseline_auc=0.5,
            held_out=False,
            same_recipe=True,
            confidence=0.95,
            rules=rules,
        )
        for name, rules in (("roc_auc", PromotionPolicy()), ("log_loss", RULES["log_loss"]))
    }
    assert found["roc_auc"].candidate.val_auc == found["log_loss"].candidate.val_auc
    assert found["roc_auc"].candidate.measured is None
    measured, delta = found["log_loss"].candidate.measured, found["log_loss"].delta
    assert measured is not None
    assert -measured.value == pytest.approx(log_loss(labels, calibrated), rel=1e-9)
    assert found["roc_auc"].delta == Estimate(0.0, 0.0, 0.0, 2000)
    assert delta is not None
    assert delta.lower > 0
