"""Fits that are asked for together, none of them twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from closedloop.bundle.skops_model import PipelineScorer
from closedloop.training.candidates import LabelledWindow, fit_recipe
from closedloop.training.recipes import parse_recipe
from closedloop.use_case.contract import UseCase


@dataclass(frozen=True, eq=False)
class Fit:
    """A recipe (`recipe/history`) that is to be fitted on the windows."""

    recipe: str
    windows: tuple[LabelledWindow, ...]
    use_case: UseCase

    @property
    def own_code(self) -> bool:
        """Whether the estimator is of the user's own."""
        recipe = self.use_case.recipes.get(parse_recipe(self.recipe)[0])
        return recipe is not None and recipe.estimator is not None


FitAll: TypeAlias = Callable[[Sequence[Fit]], Sequence[PipelineScorer]]


def fit_one_by_one(fits: Sequence[Fit]) -> list[PipelineScorer]:
    """Each as `fit_recipe`."""
    return [fit_recipe(fit.recipe, fit.windows, fit.use_case) for fit in fits]


class Fits:
    """What was fitted in one training, so that the same fit is never done again."""

    def __init__(self, fit_all: FitAll = fit_one_by_one) -> None:
        self._fit_all = fit_all
        # With the fits themselves, so that no other object gets the id of one of their windows.
        self._known: dict[object, tuple[Fit, PipelineScorer]] = {}

    def ask(self, *fits: Fit) -> list[PipelineScorer]:
        """The pipelines, in order; those that are new are fitted together."""
        new = {_key(fit): fit for fit in fits if _key(fit) not in self._known}
        if new:
            fitted = zip(new.values(), self._fit_all(tuple(new.values())), strict=True)
            self._known.update(zip(new, fitted, strict=True))
        return [self._known[_key(fit)][1] for fit in fits]


def _key(fit: Fit) -> object:
    return fit.recipe, tuple(map(id, fit.windows)), id(fit.use_case)
