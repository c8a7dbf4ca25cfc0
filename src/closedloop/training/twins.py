"""Every recipe on every history, compared on rows newer than any training row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from closedloop.bundle.frames import score_frame
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.decisions.evidence import Comparison
from closedloop.metrics.auc import measure_auc
from closedloop.metrics.comparison import compare
from closedloop.metrics.threshold import choose_threshold
from closedloop.training.candidates import Split
from closedloop.training.fits import Fit, Fits
from closedloop.training.recipes import parse_recipe, recipe_name
from closedloop.use_case.contract import UseCase
from closedloop.windows.groups import number_groups


@dataclass(frozen=True)
class Twins:
    """All candidates' comparisons, their twins, and the twins' answers to the evaluation rows.

    `scorers` are the twins of the newest window that judged.
    """

    comparisons: tuple[Comparison, ...]
    predictions: dict[str, np.ndarray]
    scorers: dict[str, PipelineScorer]


def recipes_of(use_case: UseCase) -> tuple[str, ...]:
    """Every recipe on every history, in the order of loop.toml."""
    return tuple(
        recipe_name(recipe, history)
        for recipe in use_case.training.recipes
        for history in use_case.training.all_histories
    )


def compare_twins(
    split: Split,
    production: np.ndarray | None,
    production_recipe: str | None,
    use_case: UseCase,
    fits: Fits | None = None,
    production_threshold: float | None = None,
) -> Twins:
    """Score every candidate's twin, production and a trivial baseline on the evaluation rows.

    A twin is fitted on the windows before those that it scores. `production` holds production's
    probabilities on the same rows; None without production, or when it could not be scored.
    """
    judged = split.evaluation
    groups = number_groups(use_case, judged.frame)
    baseline, *candidates = recipe_name("baseline", "all"), *_differing_recipes(split, use_case)
    asked = [_twins_of(recipe, split, use_case) for recipe in (baseline, *candidates)]
    # All at once, because whoever fits them may do so beside each other.
    fitted = iter((fits or Fits()).ask(*(fit for twins in asked for fit in twins)))
    twins = {recipe: [next(fitted) for _ in split.judges] for recipe in (baseline, *candidates)}
    predictions = {recipe: _answer(scorers, split) for recipe, scorers in twins.items()}
    baseline_auc = measure_auc(judged.labels, predictions.pop(baseline))
    comparisons = [
        compare(
            recipe=recipe,
            history=parse_recipe(recipe)[1],
            window=judged.name,
            judged_with=tuple(window.name for window in split.judges[:-1]),
            frame=judged.frame,
            labels=judged.labels,
            classes=use_case.target.classes,
            slices=use_case.slices,
            candidate=predictions[recipe],
            production=production,
            baseline_auc=0.5 if baseline_auc is None else baseline_auc,
            held_out=split.held_out,
            same_recipe=production_recipe is not None
            and parse_recipe(recipe)[0] == parse_recipe(production_recipe)[0],
            confidence=use_case.policy.promotion.confidence,
            rules=use_case.policy.promotion,
            threshold=choose_threshold(
                judged.labels,
                predictions[recipe],
                use_case.decision,
                use_case.policy.promotion,
            ),
            production_threshold=production_threshold,
            groups=groups,
        )
        for recipe in candidates
    ]
    newest = {recipe: twins[recipe][-1] for recipe in candidates}
    return Twins(tuple(comparisons), predictions, newest)


def _differing_recipes(split: Split, use_case: UseCase) -> tuple[str, ...]:
    """The recipes, without those that are another one: one window has one age, and weighing it
    changes nothing."""
    recipes = recipes_of(use_case)
    if len(split.history) > 1 or len(split.judges) > 1:
        return recipes
    first = {parse_recipe(recipe)[0]: recipe for recipe in reversed(recipes)}
    return tuple(recipe for recipe in recipes if recipe in first.values())


def _twins_of(recipe: str, split: Split, use_case: UseCase) -> list[Fit]:
    """One for each window that judges, on all before it."""
    return [
        Fit(recipe, (*split.history, *split.judges[:place]), use_case)
        for place in range(len(split.judges))
    ]


def _answer(twins: list[PipelineScorer], split: Split) -> np.ndarray:
    """Probabilities of each window that judges, by the twin that was fitted before it."""
    return np.concatenate(
        [score_frame(twin, judge.frame) for twin, judge in zip(twins, split.judges, strict=True)]
    )
