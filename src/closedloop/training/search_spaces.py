"""Where a search looks for better parameters of each learner; others stay as they are.

Our own settings (`training.learners`) lie within these limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from closedloop.use_case.recipe import LEARNERS, Recipe


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, whole numbers when both are; `log` when factors count, not steps."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range]

_RATE = Range(0.01, 0.2, log=True)
_TREES = Range(50, 400, log=True)
SPACES: Mapping[str, Space] = {
    "logistic": {"C": Range(0.001, 100.0, log=True)},
    "lightgbm": {
        "n_estimators": _TREES,
        "learning_rate": _RATE,
        "num_leaves": Range(4, 63, log=True),
        "min_child_samples": Range(5, 200, log=True),
        "colsample_bytree": Range(0.4, 1.0),
        "reg_lambda": Range(0.001, 10.0, log=True),
    },
    "hist_gradient_boosting": {
        "max_iter": _TREES,
        "learning_rate": _RATE,
        "max_leaf_nodes": Range(4, 63, log=True),
        "min_samples_leaf": Range(5, 200, log=True),
        "max_features": Range(0.4, 1.0),
        "l2_regularization": Range(0.001, 10.0, log=True),
    },
    # More trees are never worse: their number stays as it is.
    "random_forest": {
        "min_samples_leaf": Range(1, 50, log=True),
        "max_features": Range(0.1, 0.6),
    },
    "xgboost": {
        "n_estimators": _TREES,
        "learning_rate": _RATE,
        "max_depth": Range(2, 8),
        "min_child_weight": Range(1.0, 50.0, log=True),
        "subsample": Range(0.5, 1.0),
        "colsample_bytree": Range(0.4, 1.0),
        "reg_lambda": Range(0.01, 10.0, log=True),
    },
    "catboost": {
        "iterations": _TREES,
        "learning_rate": _RATE,
        "depth": Range(3, 8),
        "l2_leaf_reg": Range(1.0, 30.0, log=True),
    },
}


def find_space(recipe: Recipe) -> Space:
    """Where to look for parameters; nowhere for an estimator of the user's own."""
    return {} if recipe.learner is None else SPACES[recipe.learner]


assert {*LEARNERS} == {*SPACES}
