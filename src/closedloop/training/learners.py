"""The learners that loop.toml knows by name, with our settings and their own parameters.

To add one, add it to `use_case.recipe.Learner`, `training.search_spaces` and here, and its types to
`bundle.skops_model.TRUSTED_TYPES`. `bundle/onnx_graph.py` may have its nodes: without them its
pipeline answers in service.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from closedloop.errors import ModelError, UseCaseError
from closedloop.training.own_estimator import find_function
from closedloop.use_case.contract import UseCase
from closedloop.use_case.recipe import LEARNERS

FEW_ROWS = 50_000
# How many threads a fit may have here; -1: one for each processor. It changes no result.
THREADS: ContextVar[int] = ContextVar("THREADS", default=-1)
_CLASSES = {
    "logistic": "sklearn.linear_model:LogisticRegression",
    "baseline": "sklearn.tree:DecisionTreeClassifier",
    "lightgbm": "lightgbm:LGBMClassifier",
    "hist_gradient_boosting": "sklearn.ensemble:HistGradientBoostingClassifier",
    "random_forest": "sklearn.ensemble:RandomForestClassifier",
    "xgboost": "xgboost:XGBClassifier",
    "catboost": "catboost:CatBoostClassifier",
}
# What a class hands on to its library without naming it. Not linear_tree: trees with formulas in
# their leaves cannot be checked before they are asked.
_HANDED_ON = {
    "lightgbm": (
        *("cat_l2", "cat_smooth", "extra_trees", "feature_fraction_bynode", "is_unbalance"),
        *("interaction_constraints", "max_bin", "max_cat_threshold", "max_cat_to_onehot"),
        *("max_delta_step", "min_data_in_bin", "min_data_per_group", "monotone_constraints"),
        *("path_smooth", "scale_pos_weight"),
    ),
}
# What catboost calls the seed; it knows the usual name too, and refuses both at once.
_SEEDS = ("random_state", "random_seed", "seed")


def make_learner(learner: str, parameters: Mapping[str, Any], rows: int, seed: int) -> Any:
    """An estimator that is not fitted, with our settings for so many rows, then `parameters`.

    Raises ModelError when its package is not installed or refuses a value.
    """
    kind = _find_class(learner)
    settings = {**_settings(learner, rows), "random_state": seed, **parameters}
    try:
        return kind(**settings)
    except Exception as error:  # a foreign learner may raise anything
        raise ModelError(
            where=f"recipe {learner}",
            wanted=f"parameters of {kind.__name__}",
            got=f"{type(error).__name__}: {error}",
            then="correct [recipes] in loop.toml",
        ) from error


def check_recipes(use_case: UseCase) -> None:
    """Raise UseCaseError for a parameter that a learner of [recipes] does not have.

    Raises ModelError when its package is not installed, or an estimator not found. Without
    [recipes] nothing is imported.
    """
    for name, recipe in use_case.recipes.items():
        if recipe.estimator is not None:
            find_function(recipe.estimator)
            continue
        learner = recipe.learner or name
        known = find_parameters(learner)
        for parameter in recipe.parameters:
            if parameter in _SEEDS:
                raise UseCaseError(
                    where=f"{use_case.path}: recipes.{name}",
                    wanted="a seed in [training], which is that of every recipe",
                    got=f"parameters.{parameter}",
                    then="set seed under [training]",
                )
            if parameter not in known:
                near = difflib.get_close_matches(parameter, known, n=1, cutoff=0.5)
                raise UseCaseError(
                    where=f"{use_case.path}: recipes.{name}",
                    wanted=f"a parameter of {learner}",
                    got=f"parameters.{parameter}",
                    then=f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}",
                )


def find_parameters(learner: str) -> tuple[str, ...]:
    """The names that a learner's class takes, and those that we set."""
    kind = _find_class(learner)
    signed = inspect.signature(kind).parameters.values()
    named = {each.name for each in signed if each.kind is not each.VAR_KEYWORD}
    # Some name only a few in their signature, and know more of their own.
    named |= set(kind().get_params()) if len(named) < len(signed) else set()
    return tuple(sorted(named | {*_settings(learner, 1), *_HANDED_ON.get(learner, ())}))


def _find_class(learner: str) -> Any:
    module, _, name = _CLASSES[learner].partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError:
        raise ModelError(
            where=f"recipe {learner}",
            wanted=f"the package {module}",
            got="none",
            then=f"install it with: pip install 'closedloop[{module}]', or name another recipe",
        ) from None


def _settings(learner: str, rows: int) -> dict[str, Any]:
    """Ours: as many trees as pay, and leaves that a small table can fill."""
    # On few rows, threads mostly wait for one another.
    threads = 1 if rows < FEW_ROWS else THREADS.get()
    in_a_leaf = min(40, max(5, rows // 20))
    if learner == "logistic":
        return {"max_iter": 1000}
    if learner == "baseline":
        return {"max_depth": 1}  # the best single split: any useful model beats it
    if learner == "hist_gradient_boosting":
        return {
            "max_iter": 150,
            "learning_rate": 0.05,
            "max_leaf_nodes": 15,
            "min_samples_leaf": in_a_leaf,
            "early_stopping": False,
        }
    if learner == "random_forest":
        return {"n_estimators": 200, "min_samples_leaf": min(10, in_a_leaf), "n_jobs": threads}
    if learner == "xgboost":
        return {
            "n_estimators": 150,
            "learning_rate": 0.05,
            "max_depth": 4,
            "tree_method": "hist",
            "n_jobs": threads,
        }
    if learner == "catboost":
        return {
            "iterations": 150,
            "learning_rate": 0.05,
            "depth": 4,
            "thread_count": threads,
            "allow_writing_files": False,
            "verbose": False,
        }
    return {
        "n_estimators": 150,
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_child_samples": in_a_leaf,
        "deterministic": True,
        "force_row_wise": True,
        "n_jobs": threads,
        "verbosity": -1,
    }


assert {*LEARNERS, "baseline"} == {*_CLASSES}
