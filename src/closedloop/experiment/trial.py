"""One trial: a recipe with some parameters on a history, fitted and scored on every fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from closedloop.bundle.frames import score_frame
from closedloop.decisions.evidence import Scores
from closedloop.experiment.folds import Fold
from closedloop.metrics.deciding_measure import influence_of
from closedloop.metrics.scores import score_model
from closedloop.metrics.threshold import choose_threshold
from closedloop.training.recipes import HistoryKind, recipe_name
from closedloop.turn.ports import Parts
from closedloop.use_case.recipe import Recipe
from closedloop.windows.groups import number_groups


@dataclass(frozen=True)
class Choice:
    """What is fitted: a recipe of loop.toml or a learner, with its parameters, on a history.

    `changed` when parameters are others than those of loop.toml.
    """

    name: str
    history: HistoryKind
    recipe: Recipe
    changed: bool

    @property
    def title(self) -> str:
        """`recipe/history`."""
        return recipe_name(self.name, self.history)


@dataclass(frozen=True)
class ScoredChoice:
    """How a choice did: its score on each fold, more is better, and all folds' rows together."""

    by_fold: tuple[float, ...]
    scores: Scores
    labels: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Trial:
    """A trial that is over, as it is kept.

    `score` is the mean over the folds of the measure that decides, more is better; None when the
    recipe could not be fitted, for the reason in `error`.
    """

    number: int
    recipe: str
    history: HistoryKind
    changed: bool
    parameters: Mapping[str, Any]
    score: float | None = None
    by_fold: tuple[float, ...] = ()
    f1: float | None = None
    log_loss: float | None = None
    run_id: str = ""
    error: str = ""


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score, the first of equals; None when none could be fitted."""
    known = [(trial.score, trial) for trial in trials if trial.score is not None]
    return max(known, key=lambda scored: scored[0])[1] if known else None


def measure_choice(
    parts: Parts,
    folds: Sequence[Fold],
    choice: Choice,
    observing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> ScoredChoice:
    """Fit and score on every fold, as a training would; the last fit is done in `observing`.

    Raises ModelError when it cannot be fitted.
    """
    use_case = parts.use_case
    recipes = MappingProxyType({**use_case.recipes, choice.name: choice.recipe})
    asked = replace(use_case, recipes=recipes)
    rules, measure = use_case.policy.promotion, influence_of(use_case.policy.promotion)
    answers = []
    for fold in folds:
        with observing() if fold is folds[-1] else nullcontext():
            scorer = parts.compute.fit(choice.title, fold.history, asked)
        answers.append(score_frame(scorer, fold.judged.frame))
    labels = np.concatenate([fold.judged.labels for fold in folds])
    probabilities = np.concatenate(answers)
    first, last = folds[0].judged.name, folds[-1].judged.name
    scores = score_model(
        labels,
        probabilities,
        use_case.target.classes,
        first if first == last else f"{first} to {last}",
        rules,
        choose_threshold(labels, probabilities, use_case.decision, rules),
        number_groups(use_case, *(fold.judged.frame for fold in folds)),
    )
    by_fold = tuple(
        measure(fold.judged.labels, each)[0] for fold, each in zip(folds, answers, strict=True)
    )
    return ScoredChoice(by_fold, scores, labels, probabilities)
