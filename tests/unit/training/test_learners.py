"""Learners by name, with parameters of the user's: what is wrong is said before anything is
fitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.errors import ClosedLoopError, ModelError, UseCaseError
from closedloop.training import learners
from closedloop.training.learners import check_recipes, find_parameters, make_learner
from closedloop.training.recipes import fit
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.recipe import LEARNERS, Recipe
from tests.unit.training.shop_windows import CONTENT


def use_case(**recipes: Any) -> UseCase:
    """A shop with these tables under [recipes], each of which is to be fitted."""
    content = {**CONTENT, "training": {"recipes": [*recipes]}, "recipes": recipes}
    return parse_use_case(content, Path("loop.toml"))


def test_a_recipe_is_a_learner_with_other_parameters() -> None:
    """Under a name of its own, or in the place of a learner's; the rest stays as we set it."""
    read = use_case(
        wide={"learner": "random_forest", "parameters": {"class_weight": "balanced"}},
        logistic={"parameters": {"C": 0.01}},
    )
    check_recipes(read)
    frame, labels = pd.DataFrame({"x": np.arange(40.0)}), np.arange(40) % 4 // 3
    found = {
        name: fit(recipe, frame, labels, numeric=("x",), categorical=(), seed=3).steps[-1][1]
        for name, recipe in (
            ("wide", read.recipes["wide"]),
            ("logistic", Recipe("logistic", read.recipes["logistic"].parameters)),
        )
    }
    assert found["wide"].class_weight == "balanced"
    assert (found["wide"].n_estimators, found["wide"].random_state) == (200, 3)
    assert (found["logistic"].C, found["logistic"].max_iter) == (0.01, 1000)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            {"learner": "random_forest", "parameters": {"n_estimator": 3}},
            "recipes.mine: wanted a parameter of random_forest, got parameters.n_estimator: "
            "did you mean n_estimators?",
        ),
        (
            {"learner": "xgboost", "parameters": {"max_dept": 3}},
            "got parameters.max_dept: did you mean max_depth?",
        ),
        (
            {"learner": "catboost", "parameters": {"random_seed": 1}},
            "got parameters.random_seed: set seed under [training]",
        ),
        ({"learner": "forest"}, "recipes.mine.learner: wanted Input should be 'logistic'"),
        ({}, "recipes: wanted logistic, lightgbm"),
        ({"learner": "logistic", "parameter": {}}, "got recipes.mine.parameter: did you mean"),
    ],
)
def test_a_wrong_recipe_is_one_clear_sentence(recipe: dict[str, Any], said: str) -> None:
    """With the nearest right name, before anything is fitted."""
    with pytest.raises(UseCaseError, match=re.escape(said)) as refused:
        check_recipes(use_case(mine=recipe))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a/b", "baseline", "", "ä", "x" * 61])
def test_a_recipe_has_a_plain_name(name: str) -> None:
    """It is part of tags, keys and file names."""
    with pytest.raises(UseCaseError, match="letters, digits"):
        use_case(**{name: {"learner": "logistic"}})


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_tells_its_parameters(learner: str) -> None:
    """Those that we set are among them, so that a user can set them otherwise."""
    known = find_parameters(learner)
    assert {*learners._settings(learner, 100)} <= {*known}
    made = make_learner(learner, learners._settings(learner, 10**6), 10**6, 1)
    assert made.get_params()["random_state"] == 1


def test_what_lightgbm_hands_on_is_known_to_its_library() -> None:
    """An unknown name would be a warning only, and change nothing."""
    from lightgbm.basic import _ConfigAliases

    assert {*learners._HANDED_ON["lightgbm"]} <= {*_ConfigAliases._get_all_param_aliases()}
    check_recipes(use_case(lightgbm={"parameters": {"max_bin": 63, "scale_pos_weight": 2.0}}))
    with pytest.raises(UseCaseError, match=r"got parameters\.linear_tree"):
        check_recipes(use_case(lightgbm={"parameters": {"linear_tree": True}}))


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """xgboost and catboost are installed by those who want them."""
    monkeypatch.setitem(learners._CLASSES, "xgboost", "xgboost_is_away:XGBClassifier")
    with pytest.raises(ModelError, match=r"wanted the package xgboost_is_away, got none"):
        check_recipes(use_case(xgboost={}))


@pytest.mark.parametrize(
    ("learner", "parameters"),
    [("logistic", {"C": "much"}), ("lightgbm", {"num_leaves": -3}), ("catboost", {"depth": 99})],
)
def test_a_value_that_a_learner_refuses_is_told(learner: str, parameters: dict[str, Any]) -> None:
    """In its own words, whenever it looks at its parameters."""
    frame, labels = pd.DataFrame({"x": np.arange(40.0)}), np.arange(40) % 2
    recipe = Recipe(learner, parameters)  # type: ignore[arg-type]
    with pytest.raises(ClosedLoopError, match=f"recipe {learner}: wanted .*parameters"):
        fit(recipe, frame, labels, numeric=("x",), categorical=(), seed=3)


def test_without_tables_of_recipes_nothing_changes() -> None:
    """A file of an older version keeps its fingerprint, and with it the keys of its decisions."""
    before = parse_use_case({**CONTENT}, Path("loop.toml")).fingerprint
    assert parse_use_case({**CONTENT, "recipes": {}}, Path("loop.toml")).fingerprint == before
    mine = {"recipes": {"logistic": {"parameters": {"C": 1.0}}}}
    assert parse_use_case({**CONTENT, **mine}, Path("loop.toml")).fingerprint != before
