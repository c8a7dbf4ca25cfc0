"""What shuffling a column costs a model, and production on the same rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance

from closedloop.metrics.auc import measure_auc
from closedloop.metrics.importance import Compared, Importance, Predict, measure_importance

COLUMNS = ("age", "plan", "noise")


def make_rows(count: int = 1000) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows in which plan tells most and age tells some of the target."""
    draw = np.random.default_rng(1)
    plan = draw.choice(np.array(["basic", "gold"], dtype=object), count)
    age, noise = draw.normal(size=count), draw.normal(size=count)
    score = 2.0 * (plan == "gold") + 0.5 * age
    labels = (draw.random(count) < 1 / (1 + np.exp(1 - score))).astype(int)
    return pd.DataFrame({"age": age, "plan": plan, "noise": noise}), labels


def answer(frame: pd.DataFrame) -> np.ndarray:
    """A model that knows how the rows were made; the more, the likelier."""
    score = 2.0 * (frame["plan"] == "gold") + 0.5 * frame["age"]
    share = 1 / (1 + np.exp(1 - score.to_numpy(dtype=float)))
    return np.column_stack([1 - share, share])


def by_age(frame: pd.DataFrame) -> np.ndarray:
    """A model that looks at age alone."""
    share = 1 / (1 + np.exp(-frame["age"].to_numpy(dtype=float)))
    return np.column_stack([1 - share, share])


def measure(
    frame: pd.DataFrame,
    labels: np.ndarray,
    predict: Predict = answer,
    production: Compared | None = None,
) -> Importance:
    found = measure_importance(frame, labels, COLUMNS, predict, production, window="w1", seed=7)
    assert found is not None
    return found


def test_a_column_is_worth_what_the_model_loses_without_it() -> None:
    """The column that tells most comes first, one that the model does not look at costs exactly
    nothing, and the second measurement is the first one again."""
    frame, labels = make_rows()
    found = measure(frame, labels)
    assert [column.column for column in found.columns] == ["plan", "age", "noise"]
    assert found.val_auc == measure_auc(labels, answer(frame))
    plan, age, noise = found.columns
    assert plan.loss > age.loss > 5 * age.error > 0
    assert (noise.loss, noise.error) == (0, 0)
    assert measure(frame, labels) == found


def test_scikit_learn_finds_the_same() -> None:
    """Its own permutation importance, with other shuffles, agrees within their errors."""
    frame, labels = make_rows()

    class Estimator:
        def fit(self) -> None:
            """Asked for by scikit-learn, and never called."""

    theirs = permutation_importance(
        Estimator(),
        frame,
        labels,
        scoring=lambda _, rows, truth: measure_auc(truth, answer(rows)),
        n_repeats=20,
        random_state=1,
    )
    ours = {column.column: column for column in measure(frame, labels).columns}
    for name, mean in zip(COLUMNS, theirs.importances_mean, strict=True):
        assert ours[name].loss == pytest.approx(mean, abs=4 * ours[name].error)


def test_the_change_is_against_production_on_the_same_rows_in_the_same_order() -> None:
    """The same model changes nothing, exactly; a column that production does not have is told as
    unknown, never as 0."""
    frame, labels = make_rows()
    same = measure(frame, labels, production=Compared(3, answer, COLUMNS))
    assert {(column.change, column.change_error) for column in same.columns} == {(0, 0)}
    other = measure(frame, labels, production=Compared(3, by_age, ("age", "noise")))
    plan, age, noise = other.columns
    assert (other.production, plan.production_loss, plan.change) == (3, None, None)
    assert age.production_loss is not None
    assert age.change is not None
    assert age.production_loss > age.loss > 0 > age.change
    assert (noise.production_loss, noise.change) == (0, 0)


def test_many_rows_are_measured_on_a_part_with_every_class_in_its_share() -> None:
    """The model is asked about at most 1,000 rows in five shuffles at once, and a rare class is
    among them."""
    frame, labels = make_rows(40_000)
    labels = np.where(np.arange(40_000) % 400 == 0, 2, labels)
    asked = []

    def remember(rows: pd.DataFrame) -> np.ndarray:
        asked.append(len(rows))
        share = answer(rows)
        return np.column_stack([share * 0.9, np.full(len(rows), 0.1)])

    found = measure(frame, labels, remember)
    assert found.rows == 1_000
    assert max(asked) == 5_000
    assert len(asked) == 2 + len(COLUMNS)


def test_without_a_row_of_each_class_nothing_is_claimed() -> None:
    """AUC is unknown there, and so is what a column adds to it."""
    frame, labels = make_rows(50)
    none = np.zeros_like(labels)
    assert measure_importance(frame, none, COLUMNS, answer, None, window="w1", seed=7) is None
