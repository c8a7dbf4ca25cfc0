"""What policies without our gates do: fit a recipe on what is due, register it, promote it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd

from closedloop.backtest.replay import ReplayParts, Step
from closedloop.bundle.files import Facts
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.scorer import Scorer
from closedloop.errors import SourceError
from closedloop.training.candidates import LabelledWindow
from closedloop.training.recipes import recipe_name
from closedloop.turn.history import History
from closedloop.turn.watched_columns import PREDICTION
from closedloop.turn.window_drift import watched_frame
from closedloop.use_case.contract import UseCase

# Policies without gates check no contract either.
_NO_STATISTICS: dict[str, Any] = {}


def first_recipe(use_case: UseCase) -> str:
    """The first learner of the use case on all history, for policies that do not choose."""
    return recipe_name(use_case.training.recipes[0], "all")


def read_due(history: History[ReplayParts]) -> tuple[LabelledWindow, ...]:
    """The windows whose labels are due and that have any, oldest first."""
    read = (history.read(name).labelled for name in history.due)
    return tuple(labelled for labelled in read if len(labelled.labels))


def retrain_unchecked(history: History[ReplayParts], name: str, why: str) -> Step:
    """Fit the first recipe on all labels that are due, and promote it without a gate or a contract.

    Raises SourceError when no label is due; `name` is the policy that asks.
    """
    parts, windows = history.loop, read_due(history)
    if not windows:
        raise SourceError(
            where=name, wanted="a window with labels", got="none", then="bring labels"
        )
    recipe = first_recipe(parts.use_case)
    scorer = parts.compute.fit(recipe, windows, parts.use_case)
    version = register(history, recipe, windows, scorer, None)
    parts.registry.promote(version, instead_of=parts.registry.production(), reason=name)
    return Step(("retrain", "promote"), why, version)


def register(
    history: History[ReplayParts],
    recipe: str,
    windows: tuple[LabelledWindow, ...],
    scorer: Scorer,
    auc: float | None,
    judged: LabelledWindow | None = None,
) -> int:
    """Register what was fitted on the windows as a candidate; returns its version.

    `judged` are rows of the newest window that `scorer` has not seen: its predictions there belong
    to the reference.
    """
    parts = history.loop
    trained = pd.concat([window.frame for window in windows], ignore_index=True)

    def make_reference() -> pd.DataFrame:
        frame = watched_frame(trained, None, history)
        if judged is not None:
            seen = watched_frame(judged.frame, score_frame(scorer, judged.frame), history)
            places = windows[-1].frame.index.get_indexer(seen.index)
            frame.loc[places, PREDICTION] = seen[PREDICTION].to_numpy()
        return frame

    facts = Facts(
        name=parts.use_case.name,
        key=history.promotion_key,
        recipe=recipe,
        classes=parts.use_case.target.classes,
        trained_windows=tuple(window.name for window in windows),
        evaluation_window=windows[-1].name,
        val_auc=auc,
        statistics=_NO_STATISTICS,
        use_case=parts.use_case.content,
        rows=len(trained),
        data_digest="",
    )
    return parts.registry.add(
        LoadedVersion(facts, parts.use_case, scorer, cache(make_reference)),
        history.window,
    )
