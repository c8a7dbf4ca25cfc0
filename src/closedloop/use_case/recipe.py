"""A recipe as loop.toml names it: what is fitted, with which settings or by which code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

Learner = Literal[
    "logistic", "lightgbm", "hist_gradient_boosting", "random_forest", "xgboost", "catboost"
]
LEARNERS: tuple[str, ...] = get_args(Learner)
_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


@dataclass(frozen=True)
class Recipe:
    """A learner with parameters, or an estimator of your own; by default the learner so named."""

    learner: Learner | None = None
    """What is fitted; by default the learner that has the recipe's name."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Arguments of the learner's class, in the place of our defaults."""
    estimator: str | None = None
    """`module:function` beside loop.toml, in the place of a learner: what it returns is fitted."""
    trusted: tuple[str, ...] = ()
    """Types of your own that its fitted pipeline is made of, as `module.Class`."""
    code: str = ""
    """sha256 of the estimator's module; written into each version, not by you."""

    def __post_init__(self) -> None:
        if self.estimator is not None and (self.learner or self.parameters):
            raise ValueError("a recipe has either learner and parameters, or estimator")
        if self.estimator is not None and not re.fullmatch(
            f"{_DOTTED}:[A-Za-z_]\\w*", self.estimator
        ):
            raise ValueError('estimator must be "module:function", such as "mine.models:build"')
        if self.estimator is None and (self.trusted or self.code):
            raise ValueError("trusted is for recipes with an estimator")
        for name in self.trusted:
            if not re.fullmatch(_DOTTED, name) or "." not in name:
                raise ValueError(f'trusted must name types as "module.Class", got {name!r}')


def find_recipe(name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """The recipe of that name, with its learner; raises ValueError when there is none."""
    found = recipes.get(name, Recipe())
    if found.estimator is not None:
        return found
    learner = found.learner or name
    if learner not in LEARNERS:
        raise ValueError(
            f"{name} is neither a learner ({', '.join(LEARNERS)}) nor a [recipes.{name}] with one"
        )
    return Recipe(learner, found.parameters)  # type: ignore[arg-type]  # checked above


def with_code(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the sha256 of its module, when that lies below `folder`.

    Of a module in a package, all modules of the package count.
    """
    if recipe.estimator is None or recipe.code:
        return recipe
    parts = recipe.estimator.partition(":")[0].split(".")
    package, single = folder / parts[0], folder / f"{parts[0]}.py"
    files = sorted(package.rglob("*.py")) if package.is_dir() else [single]
    total = hashlib.sha256()
    for path in files:
        if path.is_file():
            content = path.read_bytes()
            total.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
            total.update(content)
    return replace(recipe, code=total.hexdigest()) if any(map(Path.is_file, files)) else recipe
