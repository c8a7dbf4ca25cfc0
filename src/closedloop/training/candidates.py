"""Labelled windows -> candidates: every recipe on every history, judged on rows newer than all that
it and production were trained on.

The same functions serve the flows and any replay of history: frames in, comparisons and fitted
pipelines out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from closedloop.decisions.evidence import Comparison
from closedloop.errors import SourceError
from closedloop.metrics.auc import measure_auc
from closedloop.metrics.comparison import compare
from closedloop.training.recipes import fit, parse_recipe, recency_weights, recipe_name
from closedloop.use_case.contract import UseCase
from closedloop.windows.order import held_out


@dataclass(frozen=True)
class LabelledWindow:
    """A window's prepared rows that carry a label; `index` is its place in time, `labels` are
    integers in the order of the classes."""

    name: str
    index: int
    frame: pd.DataFrame
    labels: np.ndarray
    digest: str


@dataclass(frozen=True)
class Split:
    """What twins are fitted on and what they are judged on. `held_out` when both come from one
    window."""

    history: tuple[LabelledWindow, ...]
    evaluation: LabelledWindow
    held_out: bool


def labelled_rows(
    name: str, index: int, prepared: pd.DataFrame, digest: str, use_case: UseCase
) -> LabelledWindow:
    """The labelled rows of a prepared window; none when the target column is absent."""
    target = use_case.target
    if target.column not in prepared:
        prepared = prepared.assign(**{target.column: None})
    frame = prepared[prepared[target.column].notna()]
    positions = {label: number for number, label in enumerate(target.classes)}
    return LabelledWindow(
        name, index, frame, frame[target.column].map(positions).to_numpy(dtype=int), digest
    )


def split_windows(windows: tuple[LabelledWindow, ...], use_case: UseCase) -> Split:
    """The newest labelled window judges, those before it teach; a single window is parted by a hash
    of its keys.

    Raises SourceError when no window has labels.
    """
    usable = tuple(sorted((one for one in windows if len(one.labels)), key=lambda one: one.index))
    if not usable:
        raise SourceError(
            where="training",
            wanted="at least one window with labels",
            got="none",
            then="wait for labels, or check the target column of the source's query",
        )
    if len(usable) > 1:
        return Split(usable[:-1], usable[-1], held_out=False)
    only = usable[0]
    keys = (
        only.frame[use_case.key].astype(str)
        if use_case.key in only.frame
        else only.frame.index.astype(str)
    )
    judged = held_out(list(keys), use_case.training.holdout_share, use_case.training.seed)
    teaching, judging = (
        LabelledWindow(only.name, only.index, only.frame[part], only.labels[part], only.digest)
        for part in (~judged, judged)
    )
    return Split((teaching,), judging, held_out=True)


def fit_recipe(recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase) -> Any:
    """Fit one recipe (`learner/history`) on all rows of the windows; in the history `recent` older
    windows weigh less."""
    learner, history = parse_recipe(recipe)
    frame = pd.concat([one.frame for one in windows], ignore_index=True)
    labels = np.concatenate([one.labels for one in windows])
    weights = None
    if history == "recent":
        # Weights count relative to each other, so only the ages' differences matter: a twin is then
        # what was refitted a window earlier.
        newest = max(one.index for one in windows)
        ages = np.concatenate(
            [np.full(len(one.labels), newest - one.index, dtype=float) for one in windows]
        )
        weights = recency_weights(ages, use_case.training.half_life_windows)
    return fit(
        learner,
        frame,
        labels,
        numeric=use_case.numeric,
        categorical=use_case.categorical,
        weights=weights,
        seed=use_case.training.seed,
        classes=use_case.target.classes,
    )


def probabilities(pipeline: Any, frame: pd.DataFrame, use_case: UseCase) -> np.ndarray:
    """Class probabilities of a fitted pipeline on prepared rows, shape (n, k)."""
    return np.asarray(pipeline.predict_proba(frame[list(use_case.columns)]), dtype=float)


class Trainer:
    """Fits recipes and asks fitted pipelines, anew each time it is called."""

    def fit(self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase) -> Any:
        """As `fit_recipe`; what comes back is for `probabilities` only."""
        return fit_recipe(recipe, windows, use_case)

    def probabilities(self, fitted: Any, frame: pd.DataFrame, use_case: UseCase) -> np.ndarray:
        """As the function of that name."""
        return probabilities(fitted, frame, use_case)


@dataclass(frozen=True)
class Twins:
    """The twins of all candidates, their comparisons, and their honest predictions on the
    evaluation window."""

    comparisons: tuple[Comparison, ...]
    predictions: dict[str, np.ndarray]


def recipes_of(use_case: UseCase) -> tuple[str, ...]:
    """Every recipe on every history, in the order of the file."""
    return tuple(
        recipe_name(recipe, history)
        for recipe in use_case.training.recipes
        for history in use_case.training.histories
    )


def compare_twins(
    split: Split,
    production: np.ndarray | None,
    production_recipe: str | None,
    use_case: UseCase,
    trainer: Trainer | None = None,
) -> Twins:
    """Fit every candidate's twin before the evaluation window and score it, production and a
    trivial baseline on the same rows.

    `production` are production's probabilities on the evaluation rows, None when there is none or
    it could not be scored.
    """
    trainer, judged = trainer or Trainer(), split.evaluation
    baseline = trainer.fit(recipe_name("baseline", "all"), split.history, use_case)
    baseline_auc = measure_auc(
        judged.labels, trainer.probabilities(baseline, judged.frame, use_case)
    )
    comparisons, predictions = [], {}
    for recipe in recipes_of(use_case):
        if (
            len(split.history) == 1
            and recipe.endswith("/recent")
            and recipe.replace("/recent", "/all") in predictions
        ):
            # One window has one age: weighing it changes nothing.
            continue
        twin = trainer.fit(recipe, split.history, use_case)
        predictions[recipe] = trainer.probabilities(twin, judged.frame, use_case)
        comparisons.append(
            compare(
                recipe=recipe,
                window=judged.name,
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
            )
        )
    return Twins(tuple(comparisons), predictions)
