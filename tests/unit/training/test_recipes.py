"""Training: every recipe fits whatever a contract lets through, alike for a seed, and says clearly
when it cannot."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from closedloop.errors import ModelError
from closedloop.metrics.auc import measure_auc
from closedloop.training.recipes import fit, parse_recipe, recency_weights, recipe_name
from closedloop.use_case.recipe import LEARNERS

pytestmark = pytest.mark.slow

RECIPES = (*LEARNERS, "baseline")
NUMERIC, CATEGORICAL = ("fee", "constant", "empty"), ('plan "x" [1]', "always")


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """A library's warning is a failure: users would read it in the flow's log at every turn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _rows(count: int, classes: int = 2, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """A prepared frame with a constant, an empty and an awkwardly named column; `fee` and the plan
    carry the signal."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, count - classes)]
    fee = labels + rng.normal(size=count)
    fee[rng.random(count) < 0.1] = np.nan
    plan = np.where(
        rng.random(count) < 0.7, np.array([f"plan{label}" for label in labels]), "(missing)"
    )
    frame = pd.DataFrame(
        {"fee": fee, "constant": 3.0, "empty": np.nan, 'plan "x" [1]': plan, "always": "same"}
    )
    return frame.astype({'plan "x" [1]': object, "always": object}), labels


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("classes", [2, 4])
def test_every_recipe_learns_and_answers_all_classes_in_order(recipe: str, classes: int) -> None:
    """Constant, empty and oddly named columns, nulls, and later unseen categories: probabilities of
    k columns, better than chance."""
    frame, labels = _rows(600, classes)
    pipeline = fit(recipe, frame, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7)
    fresh, truth = _rows(600, classes, seed=1)
    fresh.loc[0, 'plan "x" [1]'] = "never seen"
    fresh.loc[1, "empty"] = 5.0
    answers = pipeline.predict_proba(fresh)
    assert answers.shape == (600, classes)
    assert pipeline.classes_.tolist() == list(range(classes))
    assert np.isfinite(answers).all()
    assert answers.sum(axis=1) == pytest.approx(1)
    assert (measure_auc(truth, answers) or 0) > 0.6


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("numeric", "categorical"),
    [(NUMERIC, ()), ((), CATEGORICAL)],
    ids=["no categorical", "no numeric"],
)
def test_columns_of_one_kind_are_enough(
    recipe: str, numeric: tuple[str, ...], categorical: tuple[str, ...]
) -> None:
    """A table of numbers only, or of categories only, is fitted; other columns of the frame are not
    looked at."""
    frame, labels = _rows(200)
    pipeline = fit(recipe, frame, labels, numeric=numeric, categorical=categorical, seed=7)
    assert pipeline.predict_proba(frame[[*numeric, *categorical]]).shape == (200, 2)


@pytest.mark.parametrize("recipe", RECIPES)
def test_fifty_rows_still_separate(recipe: str) -> None:
    """A small table gives a model that tells its own rows apart, not a constant: leaf sizes follow
    the number of rows."""
    frame, labels = _rows(50)
    answers = fit(
        recipe, frame, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7
    ).predict_proba(frame)
    assert (measure_auc(labels, answers) or 0) > 0.7


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_model(recipe: str) -> None:
    """Two fits answer bit for bit alike."""
    frame, labels = _rows(300)
    first, second = (
        fit(recipe, frame, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7).predict_proba(
            frame
        )
        for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_the_baseline_asks_one_question() -> None:
    """Only two different answers come out, so it is the best single yes-or-no question."""
    frame, labels = _rows(300)
    answers = fit(
        "baseline", frame, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7
    ).predict_proba(frame)
    assert len(np.unique(answers[:, 1])) == 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_class_without_rows_is_refused(recipe: str) -> None:
    """Rather than a model that answers fewer classes than the use case has; the message names the
    class."""
    frame, labels = _rows(100)
    with pytest.raises(
        ModelError,
        match="wanted rows of all 3 classes, got none of class gone in 100 rows: train on more",
    ):
        fit(
            recipe,
            frame,
            labels,
            numeric=NUMERIC,
            categorical=CATEGORICAL,
            seed=7,
            classes=("no", "yes", "gone"),
        )
    with pytest.raises(ModelError, match="none of class 1"):
        fit(recipe, frame, labels * 2, numeric=NUMERIC, categorical=CATEGORICAL, seed=7)
    with pytest.raises(ModelError, match="none of class 1"):
        fit(recipe, frame, labels * 0, numeric=NUMERIC, categorical=CATEGORICAL, seed=7)
    with pytest.raises(ModelError, match="labels -1 to 1"):
        fit(recipe, frame, np.r_[-1, labels[1:]], numeric=NUMERIC, categorical=CATEGORICAL, seed=7)


def test_no_column_is_refused() -> None:
    """Nothing to learn from is said, not found out by scikit-learn."""
    frame, labels = _rows(50)
    with pytest.raises(ModelError, match="at least one column"):
        fit("logistic", frame, labels, numeric=(), categorical=(), seed=7)


def test_a_learners_own_refusal_becomes_ours() -> None:
    """An infinite value, which the contract should have turned away, ends in a ModelError with the
    learner's words in it."""
    frame, labels = _rows(50)
    frame.loc[0, "fee"] = np.inf
    with pytest.raises(
        ModelError,
        match=r"recipe logistic: wanted rows and parameters that the learner can fit, "
        r"got ValueError.*infinity",
    ):
        fit("logistic", frame, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7)


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_decide_which_rows_count(recipe: str) -> None:
    """Two windows that contradict each other: the model agrees with the one that weighs more,
    whatever the unit of the weights."""
    frame, labels = _rows(400)
    both, truth = pd.concat([frame, frame], ignore_index=True), np.r_[labels, 1 - labels]
    weights = recency_weights(np.r_[np.full(400, 6), np.zeros(400)], 1.0)
    columns: dict[str, Any] = {"numeric": NUMERIC, "categorical": CATEGORICAL, "seed": 7}
    answers = fit(recipe, both, truth, weights=weights, **columns).predict_proba(frame)
    assert (measure_auc(1 - labels, answers) or 0) > 0.6
    assert fit(recipe, both, truth, weights=weights * 1000, **columns).predict_proba(
        frame
    ) == pytest.approx(answers, abs=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_class_without_weight_still_has_its_column(recipe: str) -> None:
    """All rows of a class too old to count: the model still answers both classes, finitely."""
    frame, labels = _rows(200)
    weights = np.where(labels == 1, 0.0, 1.0)
    answers = fit(
        recipe, frame, labels, numeric=NUMERIC, categorical=CATEGORICAL, weights=weights, seed=7
    ).predict_proba(frame)
    assert answers.shape == (200, 2)
    assert np.isfinite(answers).all()
    assert answers[:, 0].mean() > 0.9


@pytest.mark.parametrize(
    "weights",
    [np.ones(3), np.zeros(50), np.r_[-1.0, np.ones(49)]],
    ids=["shape", "all 0", "negative"],
)
def test_impossible_weights_are_refused(weights: NDArray[np.float64]) -> None:
    """A wrong shape, no weight at all, or a negative one."""
    frame, labels = _rows(50)
    with pytest.raises(ModelError, match="training weights: wanted 50 weights"):
        fit(
            "logistic",
            frame,
            labels,
            numeric=NUMERIC,
            categorical=CATEGORICAL,
            weights=weights,
            seed=7,
        )


def test_recency_weights_halve_with_the_half_life() -> None:
    """1 now, 1/2 after one half-life, 1/4 after two."""
    assert recency_weights([0, 3, 6], 3.0).tolist() == [1.0, 0.5, 0.25]


def test_recipe_names_go_there_and_back() -> None:
    """A name stands for one recipe and one history, and nothing else is accepted."""
    assert recipe_name("lightgbm", "recent") == "lightgbm/recent"
    for recipe in RECIPES:
        assert parse_recipe(recipe_name(recipe, "all")) == (recipe, "all")
    for wrong in ("lightgbm", "/all", "lightgbm/never", ""):
        with pytest.raises(ModelError, match=r"recipe: wanted NAME/all"):
            parse_recipe(wrong)
