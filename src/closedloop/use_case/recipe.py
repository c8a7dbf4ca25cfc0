"""A recipe as loop.toml names it: what is fitted, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Learner = Literal[
    "logistic", "lightgbm", "hist_gradient_boosting", "random_forest", "xgboost", "catboost"
]
LEARNERS: tuple[str, ...] = get_args(Learner)


@dataclass(frozen=True)
class Recipe:
    """A learner with settings of your own. Without `learner`, its name is that of a learner."""

    learner: Learner | None = None
    """What is fitted; by default the learner that has the recipe's name."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Arguments of the learner's class, in the place of our defaults."""


def find_recipe(name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """The recipe of that name, with its learner; raises ValueError when there is none."""
    found = recipes.get(name, Recipe())
    learner = found.learner or name
    if learner not in LEARNERS:
        raise ValueError(
            f"{name} is neither a learner ({', '.join(LEARNERS)}) nor a [recipes.{name}] with one"
        )
    return Recipe(learner, found.parameters)  # type: ignore[arg-type]  # checked above
