"""Intervals where rows belong together: as wide as a bootstrap of whole groups, and as ever where
no group has two rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from closedloop.decisions.evidence import Estimate
from closedloop.decisions.policy import PromotionPolicy
from closedloop.metrics.auc import (
    auc_influence,
    estimate_auc,
    measure_auc,
    measure_auc_error,
    measure_delta,
)
from closedloop.metrics.clustering import count_rarest, standard_error
from closedloop.metrics.comparison import measure_slices
from closedloop.metrics.deciding_measure import (
    estimate_measure,
    influence_of,
    measure_candidate,
)
from closedloop.metrics.scores import score_model
from closedloop.use_case.contract import Slice
from tests.made_answers import equal_models, rows_of_customers, several

COST = ((0.0, 1.0), (5.0, 0.0))
MEASURES = [
    PromotionPolicy(measure="roc_auc"),
    PromotionPolicy(measure="average_precision"),
    PromotionPolicy(measure="log_loss"),
    PromotionPolicy(measure="brier"),
    PromotionPolicy(measure="cost", cost=COST),
]


def as_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    positive = 1 / (1 + np.exp(-scores[:, 1]))
    return np.column_stack([1 - positive, positive])


def customers(seed: int = 1, number: int = 200, **options: Any) -> tuple[Any, Any, Any, Any]:
    """As `rows_of_customers`, with probabilities."""
    labels, groups, first, second = rows_of_customers(number, 0.3, seed, **options)
    return labels, groups, as_probabilities(first), as_probabilities(second)


def bootstrap(
    groups: NDArray[np.int64], measure: Callable[[NDArray[np.int64]], float], draws: int = 600
) -> float:
    """The spread of a measure when whole groups are drawn with replacement."""
    rng, rows = np.random.default_rng(0), [np.flatnonzero(groups == g) for g in np.unique(groups)]
    drawn = (rng.integers(0, len(rows), len(rows)) for _ in range(draws))
    return float(np.std([measure(np.concatenate([rows[g] for g in chosen])) for chosen in drawn]))


@pytest.mark.parametrize("rules", MEASURES, ids=lambda rules: rules.measure)
@pytest.mark.parametrize("unequal", [False, True])
def test_the_error_is_that_of_a_bootstrap_of_groups(rules: PromotionPolicy, unequal: bool) -> None:
    """Within 8 % for one model and for a difference, in every measure that may decide; for a
    difference in AUC rows taken as independent are further off."""
    labels, groups, first, second = customers(unequal=unequal)
    influence = influence_of(rules)
    (_, psi), (_, other) = influence(labels, first), influence(labels, second)

    def alone(rows: NDArray[np.int64]) -> float:
        return influence(labels[rows], first[rows])[0]

    def difference(rows: NDArray[np.int64]) -> float:
        return alone(rows) - influence(labels[rows], second[rows])[0]

    assert standard_error(psi, groups) == pytest.approx(bootstrap(groups, alone), rel=0.08)
    expected = bootstrap(groups, difference)
    assert standard_error(psi - other, groups) == pytest.approx(expected, rel=0.08)
    assert rules.measure != "roc_auc" or standard_error(psi - other) < 0.85 * expected


def test_groups_of_one_row_are_no_groups() -> None:
    """Value, interval and error are those of today to the last bit, whatever the numbers of the
    groups are, and so are those of every other measure and slice."""
    labels, _, first, second = customers()
    alone = np.random.default_rng(0).permutation(len(labels)) * 3
    part = (Slice("all", "x", minimum=0, protected=True),)
    frame = pd.DataFrame({"x": np.ones(len(labels))})

    def bounds(found: Estimate | None) -> tuple[float, ...]:
        assert found is not None
        return found.value, found.lower, found.upper, found.rows

    for rules in MEASURES:
        influence = influence_of(rules)
        assert bounds(estimate_measure(labels, first, rules, alone)) == bounds(
            estimate_measure(labels, first, rules)
        )
        assert measure_candidate(labels, first, rules, alone) == measure_candidate(
            labels, first, rules
        )
        known = measure_delta(labels, first, second, 0.95, influence)
        assert bounds(measure_delta(labels, first, second, 0.95, influence, alone)) == bounds(known)
        both = (
            measure_slices(frame, part, labels, first, second, 0.95, influence, groups)[0].delta
            for groups in (alone, None)
        )
        assert [bounds(delta) for delta in both] == [bounds(known)] * 2
    assert bounds(estimate_auc(labels, first, 0.95, alone)) == bounds(
        estimate_auc(labels, first, 0.95)
    )
    assert measure_auc_error(labels, first, alone) == measure_auc_error(labels, first)


@given(seed=st.integers(0, 500), many=st.booleans())
@settings(max_examples=25)
def test_neither_the_order_of_rows_nor_the_numbers_of_groups_matter(seed: int, many: bool) -> None:
    """Rows in another order, with groups numbered anew, give the same interval; swapping the
    models turns it round."""
    labels, groups, first, second = customers(seed, 40, unequal=True)
    if many:
        labels, first = several(len(groups), 4, seed)
        second = several(len(groups), 4, seed + 1)[1]
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(labels)), rng.permutation(60)
    found = measure_delta(labels, first, second, 0.95, groups=groups)
    again = measure_delta(
        labels[order], first[order], second[order], 0.95, groups=names[groups][order]
    )
    turned = measure_delta(labels, second, first, 0.95, groups=groups)
    assert found is not None
    assert again is not None
    assert turned is not None
    assert [again.value, again.lower, again.upper] == pytest.approx(
        [found.value, found.lower, found.upper], abs=1e-12
    )
    assert [-turned.value, -turned.upper, -turned.lower] == pytest.approx(
        [found.value, found.lower, found.upper], abs=1e-12
    )
    assert found.lower <= found.value <= found.upper


@given(seed=st.integers(0, 500), copies=st.integers(2, 10))
@settings(max_examples=25)
def test_copies_of_a_row_in_its_group_tell_nothing_new(seed: int, copies: int) -> None:
    """A table whose every row stands there several times, as a group, is as sure as the table;
    taken as independent, its rows make it look surer than it is."""
    labels = (np.arange(200) % 3 == 0).astype(np.int64)
    first, second = equal_models(labels, seed)
    groups = np.arange(200).repeat(copies)
    once = measure_delta(labels, first, second, 0.95)
    repeated = [part.repeat(copies, axis=0) for part in (labels, first, second)]
    together = measure_delta(*repeated, 0.95, groups=groups)
    apart = measure_delta(*repeated, 0.95)
    assert once is not None
    assert together is not None
    assert apart is not None
    width = once.upper - once.lower
    assert together.value == pytest.approx(once.value)
    assert together.upper - together.lower == pytest.approx(width, rel=0.04)
    assert apart.upper - apart.lower < 0.75 * width


def test_a_class_of_one_group_says_nothing() -> None:
    """All positives are of one customer: there is no interval, no error, and a note of how few; of
    two customers there is one, and it is wide."""
    labels = np.array([1] * 30 + [0] * 90)
    first, second = equal_models(labels, 3)
    groups = np.r_[np.zeros(30, dtype=int), np.arange(1, 91)]
    assert measure_delta(labels, first, second, 0.95, groups=groups) is None
    assert estimate_auc(labels, first, 0.95, groups) is None
    assert measure_auc_error(labels, first, groups) is None
    assert estimate_measure(labels, first, MEASURES[1], groups) is None
    assert measure_candidate(labels, first, MEASURES[1], groups) is None
    found = score_model(labels, as_probabilities(first), ("no", "yes"), "w", groups=groups)
    assert (found.val_auc_error, found.groups) == (None, 1)
    assert found.val_auc == measure_auc(labels, as_probabilities(first))
    groups[:15] = 100
    two = measure_delta(labels, first, second, 0.95, groups=groups)
    independent = measure_delta(labels, first, second, 0.95)
    assert two is not None
    assert independent is not None
    assert two.groups == 2
    assert independent.groups is None
    assert two.upper - two.lower > 1.5 * (independent.upper - independent.lower)


def test_groups_of_the_rarest_class_are_counted() -> None:
    """A group counts for every class that it has a row of; an absent class has none."""
    labels, groups = np.array([0, 0, 1, 1, 1]), np.array([7, 8, 7, 7, 9])
    assert count_rarest(labels, 2) == 2
    assert count_rarest(labels, 2, groups) == 2
    assert count_rarest(labels, 2, np.array([7, 8, 7, 7, 7])) == 1
    assert count_rarest(labels, 3, groups) == 0


def test_one_large_group_widens_the_interval() -> None:
    """Half of all rows are of one customer: that is few customers in effect, so the interval uses
    a wider reach than its standard error times 1.96."""
    labels, groups, first, second = customers()
    groups = np.where(np.arange(len(groups)) < len(groups) // 2, 0, groups)
    found = measure_delta(labels, first, second, 0.95, groups=groups)
    assert found is not None
    psi = auc_influence(labels, first)[1] - auc_influence(labels, second)[1]
    assert (found.upper - found.value) / standard_error(psi, groups) > 2.2


def test_slices_sum_their_own_rows() -> None:
    """A slice with two rows of each customer has the interval of these rows alone, and says in how
    many customers its rarest class is."""
    labels, groups, first, second = customers()
    inside = np.arange(len(labels)) % 5 == 0
    frame = pd.DataFrame({"plan": inside.astype(float)})
    parts = (Slice("some", "plan", minimum=1, protected=True),)
    (found,) = measure_slices(frame, parts, labels, first, second, 0.95, None, groups)
    alone = measure_delta(
        labels[inside], first[inside], second[inside], 0.95, groups=groups[inside]
    )
    assert found.delta == alone
    assert found.groups == len(np.unique(groups[inside & (labels == 1)]))


def _days(seed: int) -> tuple[Any, Any, Any, Any]:
    """60 days of 24 rows, each hour much like the one before, and two equally good models."""
    rng = np.random.default_rng(seed)

    def runs() -> NDArray[np.float64]:
        steps, found = rng.normal(size=60 * 24), np.empty(60 * 24)
        found[0] = steps[0]
        for place in range(1, len(steps)):
            found[place] = 0.8 * found[place - 1] + 0.6 * steps[place]
        return found

    labels = (runs() > 0.5).astype(np.int64)
    seen = 1.2 * labels + rng.normal(size=len(labels))
    models = [seen + 0.6 * runs() for _ in range(2)]
    days = np.arange(len(labels)) // 24
    return labels, days, *(np.column_stack([-model, model]) for model in models)


def test_rows_that_follow_each_other_may_be_grouped_by_day() -> None:
    """Where each hour is like the one before, rows as independent call one of two equal models
    better far too often; days as groups come near the 5 % that were asked for."""
    wrong = np.zeros(2)
    for seed in range(300):
        labels, days, first, second = _days(2 * seed)
        for place, groups in enumerate((None, days)):
            found = measure_delta(labels, first, second, 0.95, groups=groups)
            assert found is not None
            wrong[place] += not found.lower <= 0 <= found.upper
    independent, by_day = wrong / 300
    assert independent > 0.15
    assert by_day < 0.1
