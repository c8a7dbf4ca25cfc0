"""Which windows teach a candidate and which judge it, and one fit.

The flows and the backtest use the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from closedloop.bundle.skops_model import PipelineScorer
from closedloop.errors import ModelError, SourceError
from closedloop.metrics.clustering import count_rarest
from closedloop.training.recipes import fit, parse_recipe, recency_weights
from closedloop.use_case.contract import MISSING, UseCase
from closedloop.use_case.recipe import Recipe, find_recipe
from closedloop.windows.groups import number_groups
from closedloop.windows.order import held_out

# In windows. A window before the newest counts a quarter, one three before it 1/64: enough that a
# class which is rare has rows, too few to teach what was true before a change.
_HALF_LIFE_OF_NEWEST, _OLDEST = 0.5, 3


@dataclass(frozen=True)
class LabelledWindow:
    """The labelled rows of a window, prepared.

    `index` is the window's place in time; `labels` are integers in the order of the classes.
    """

    name: str
    index: int
    frame: pd.DataFrame
    labels: np.ndarray
    digest: str


@dataclass(frozen=True)
class Split:
    """The windows that twins are fitted on and those that judge them, both oldest first.

    Each window that judges is scored by twins fitted on all before it, so also on older ones that
    judge. `held_out` when both come from the same window.
    """

    history: tuple[LabelledWindow, ...]
    judges: tuple[LabelledWindow, ...]
    held_out: bool

    @cached_property
    def evaluation(self) -> LabelledWindow:
        """The rows that judge, under the name of the newest window."""
        if len(self.judges) == 1:
            return self.judges[0]
        return replace(
            self.judges[-1],
            frame=pd.concat([window.frame for window in self.judges], ignore_index=True),
            labels=np.concatenate([window.labels for window in self.judges]),
        )


def labelled_rows(
    name: str, index: int, prepared: pd.DataFrame, digest: str, use_case: UseCase
) -> LabelledWindow:
    """The labelled rows of a prepared window; empty when the target column is absent."""
    target = use_case.target
    if target.column not in prepared:
        prepared = prepared.assign(**{target.column: None})
    frame = prepared[prepared[target.column].notna()]
    positions = {label: number for number, label in enumerate(target.classes)}
    return LabelledWindow(
        name, index, frame, frame[target.column].map(positions).to_numpy(dtype=int), digest
    )


def split_windows(
    windows: tuple[LabelledWindow, ...], use_case: UseCase, known_through: int | None = None
) -> Split:
    """Evaluate on the newest labelled window and train on those before it.

    Where it has too few rows of a class, the windows before it judge with it, as few as have enough
    and at most `max_evaluation_windows`: none up to `known_through`, the newest that production
    was trained on. A single window is split by a hash of its keys, or of its groups, so that no
    group is on both sides. Raises SourceError when no window has labels.
    """
    labelled = (window for window in windows if len(window.labels))
    usable = tuple(sorted(labelled, key=lambda window: window.index))
    if not usable:
        raise SourceError(
            where="training",
            wanted="at least one window with labels",
            got="none",
            then="wait for labels, or check the target column of the source's query",
        )
    if len(usable) > 1:
        first = len(usable) - _count_judges(usable, use_case, known_through)
        return Split(usable[:first], usable[first:], held_out=False)
    only = usable[0]
    keys = _names_to_split_by(only.frame, use_case)
    judged = held_out(keys, use_case.training.holdout_share, use_case.training.seed)
    teaching, judging = (
        LabelledWindow(only.name, only.index, only.frame[part], only.labels[part], only.digest)
        for part in (~judged, judged)
    )
    return Split((teaching,), (judging,), held_out=True)


def _count_judges(
    windows: tuple[LabelledWindow, ...], use_case: UseCase, known_through: int | None
) -> int:
    """How many of the newest windows judge; the oldest of all is there to learn from."""
    rules, classes = use_case.policy.promotion, len(use_case.target.classes)
    judging: list[LabelledWindow] = []
    for window in reversed(windows[1:]):
        known = known_through is not None and window.index <= known_through
        if len(judging) == rules.max_evaluation_windows or (judging and known):
            break
        judging.append(window)
        labels = np.concatenate([judge.labels for judge in judging])
        groups = number_groups(use_case, *(judge.frame for judge in judging))
        rarest = count_rarest(labels, classes, groups)
        if len(labels) >= rules.min_rows and rarest >= rules.min_rows_per_class:
            break
    return len(judging)


def _names_to_split_by(frame: pd.DataFrame, use_case: UseCase) -> list[str]:
    """The group of each row, and where it has none its key or its place."""
    keys = frame[use_case.key] if use_case.key in frame else frame.index.to_series()
    names = keys.astype(str)
    if use_case.group in frame:
        groups = frame[use_case.group]
        names = names.where(groups.isna() | (groups == MISSING), groups.astype(str))
    return list(names)


def fit_recipe(
    recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase
) -> PipelineScorer:
    """Fit a recipe (`recipe/history`) on the windows; `recent` and `newest` weigh older ones less.

    Raises ModelError for a recipe that the use case does not know, and as `fit`.
    """
    name, history = parse_recipe(recipe)
    windows, newest = learnt_windows(recipe, windows), max(window.index for window in windows)
    frame = pd.concat([window.frame for window in windows], ignore_index=True)
    labels = np.concatenate([window.labels for window in windows])
    weights = None
    if history != "all":
        # Only differences in age count, because weights are relative: a twin equals what a refit a
        # window earlier would have been.
        ages = np.concatenate(
            [np.full(len(window.labels), newest - window.index, dtype=float) for window in windows]
        )
        recent = use_case.training.half_life_windows
        weights = recency_weights(ages, recent if history == "recent" else _HALF_LIFE_OF_NEWEST)
    pipeline = fit(
        _resolve(name, use_case),
        frame,
        labels,
        numeric=use_case.numeric,
        categorical=use_case.categorical,
        weights=weights,
        seed=use_case.training.seed,
        classes=use_case.target.classes,
        most_values=use_case.compute.values,
    )
    return PipelineScorer(pipeline, use_case.numeric, use_case.categorical)


def learnt_windows(recipe: str, windows: tuple[LabelledWindow, ...]) -> tuple[LabelledWindow, ...]:
    """Those of the windows whose rows count in a recipe on this history."""
    if parse_recipe(recipe)[1] != "newest":
        return windows
    newest = max(window.index for window in windows)
    return tuple(window for window in windows if newest - window.index <= _OLDEST)


def _resolve(name: str, use_case: UseCase) -> Recipe | str:
    if name == "baseline":
        return name
    try:
        return find_recipe(name, use_case.recipes)
    except ValueError as error:
        raise ModelError(
            where=f"recipe {name}",
            wanted="a recipe of loop.toml",
            got=str(error),
            then="keep the recipe of the version that is live, until another is promoted",
        ) from None
