"""Estimators of the user's own, made by a function beside loop.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.errors import ModelError
from closedloop.use_case.recipe import Recipe


@dataclass(frozen=True)
class Task:
    """What the user's function is given.

    `columns` are the names with `numeric` or `categorical`, in the order of the frame that is
    fitted: numbers are float64 with NaN for null, categories are texts. Labels are 0 to k-1, in the
    order of `classes`.
    """

    columns: Mapping[str, str]
    classes: tuple[str, ...]
    seed: int

    @property
    def numeric(self) -> list[str]:
        """The names of the numeric columns."""
        return [name for name, kind in self.columns.items() if kind == "numeric"]

    @property
    def categorical(self) -> list[str]:
        """The names of the categorical columns."""
        return [name for name, kind in self.columns.items() if kind == "categorical"]


def build_estimator(
    recipe: Recipe,
    numeric: Sequence[str],
    categorical: Sequence[str],
    classes: Sequence[str],
    seed: int,
) -> Any:
    """The estimator that the function of the recipe returns, not fitted.

    Raises ModelError for a function that is not there or fails, and for what is no classifier.
    """
    build = find_function(str(recipe.estimator))
    columns = dict.fromkeys(numeric, "numeric") | dict.fromkeys(categorical, "categorical")
    try:
        made = build(Task(MappingProxyType(columns), tuple(classes), seed))
    except (Exception, SystemExit) as error:  # it may raise anything
        raise _refusal(recipe, "an estimator", f"{type(error).__name__}: {error}") from error
    if not hasattr(made, "fit") or not hasattr(made, "predict_proba"):
        raise _refusal(
            recipe, "a classifier with fit and predict_proba", f"a {type(made).__name__} without"
        )
    return made


def find_function(estimator: str) -> Any:
    """The function that `module:function` names; raises ModelError when it cannot be imported."""
    module, _, name = estimator.partition(":")
    try:
        return getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # a module may raise anything
        raise ModelError(
            where=f"estimator {estimator}",
            wanted=f"a module {module} beside loop.toml, or installed, with a function {name}",
            got=f"{type(error).__name__}: {error}",
            then="correct [recipes] in loop.toml, or the module",
        ) from error


def fitting_arguments(
    recipe: Recipe, made: Any, weights: NDArray[np.float64] | None
) -> dict[str, Any]:
    """The weights under the name by which the estimator takes them.

    Raises ModelError for one that takes none.
    """
    if weights is None:
        return {}
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    name, last = "sample_weight", made
    if isinstance(made, Pipeline):
        step, last = made.steps[-1]
        name = f"{step}__sample_weight"
    if not has_fit_parameter(last, "sample_weight"):
        raise _refusal(
            recipe,
            "an estimator whose fit takes sample_weight, for the history recent",
            type(last).__name__,
            'set histories = ["all"] under [training]',
        )
    return {name: weights}


def check_answers(recipe: Recipe, fitted: Any, frame: pd.DataFrame, classes: int) -> None:
    """Raise ModelError unless it answers a probability for each class."""
    answers = np.asarray(fitted.predict_proba(frame.head(3)))
    if answers.shape != (min(3, len(frame)), classes) or not np.isfinite(answers).all():
        raise _refusal(recipe, f"{classes} probabilities for each row", f"shape {answers.shape}")


def _refusal(
    recipe: Recipe, wanted: str, got: str, then: str = "correct the function"
) -> ModelError:
    return ModelError(where=f"estimator {recipe.estimator}", wanted=wanted, got=got, then=then)
