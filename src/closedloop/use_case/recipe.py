"""A recipe as loop.toml names it: what is fitted, with which settings or by which code."""

from __future__ import annotations

import ast
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
    """sha256 of the estimator's code; written into each version, not by you."""

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
    """The recipe with the sha256 of its code, as far as that lies below `folder`."""
    if recipe.estimator is None or recipe.code:
        return recipe
    found = find_own_modules(recipe, folder)
    total = hashlib.sha256()
    for path, content in sorted(found.items()):
        total.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return replace(recipe, code=total.hexdigest()) if found else recipe


def find_own_modules(recipe: Recipe, folder: Path) -> dict[Path, bytes]:
    """The contents of the modules below `folder` that a recipe needs, by path.

    They are the estimator's module and those of the trusted types, all modules of a package, and
    what they import from `folder`. Empty for a learner.
    """
    found: dict[Path, bytes] = {}
    names = (
        [] if recipe.estimator is None else [recipe.estimator.partition(":")[0], *recipe.trusted]
    )
    waiting = [name.split(".")[0] for name in names]
    seen: set[str] = set()
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        package, single = folder / name, folder / f"{name}.py"
        for path in package.rglob("*.py") if package.is_dir() else [single]:
            if path.is_file():
                found[path] = path.read_bytes()
                waiting += _imported(found[path])
    return found


def _imported(content: bytes) -> list[str]:
    """The first names of what a module imports, but for relative imports."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError):
        return []  # importing it will say so
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    ]
    return [name.split(".")[0] for name in names if name]
