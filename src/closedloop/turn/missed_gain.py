"""What newer labels would have gained: two small models of production's recipe on the same rows.

One learns from the windows that production knows, as production did, the other from all that a
candidate could have learnt from by then. Both are small, because this is asked in every window:
what differs is what they know, not how much they could learn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from closedloop.bundle.frames import score_frame
from closedloop.bundle.own_code import refuse_own_code_of_others
from closedloop.decisions.gain import count_gain
from closedloop.decisions.gain_evidence import Gain
from closedloop.errors import ModelError
from closedloop.metrics.auc import measure_delta
from closedloop.metrics.deciding_measure import influence_of
from closedloop.storage.details import GainFacts
from closedloop.training.candidates import LabelledWindow
from closedloop.training.recipes import HistoryKind, parse_recipe, recipe_name
from closedloop.turn.history import History
from closedloop.turn.new_rows import keep_new_rows, trained_windows
from closedloop.turn.ports import Parts
from closedloop.windows.groups import number_groups
from closedloop.windows.order import position

# What the small models learn from, the second where production lost AUC.
_HISTORIES: tuple[HistoryKind, ...] = ("all", "newest")
# A usual interval at this confidence reaches one standard error to each side.
_ONE_ERROR = 2 * NormalDist().cdf(1) - 1


def measure_gain(
    history: History[Parts], judged: LabelledWindow | None, *, lost: bool = False
) -> Gain | None:
    """What the labels between production's and those of `judged` would have gained on it.

    Where production has `lost` AUC, the newest labels alone are asked, too: after an abrupt change
    a model of all history needs many windows to show that there is something to learn. Not always,
    because in a season the newest window is a poor guide to the next one.

    Without rows where there are none. None where a window that production learnt from is gone,
    where one that was released from quarantine shows a change that no model knows yet, or where a
    small model may not or cannot be fitted, for example because a class has no row.
    """
    rules, live, bundle = history.loop.use_case.policy, history.production, history.bundle
    if not rules.retraining.gain_trigger or judged is None or live is None or bundle is None:
        return None
    known = [name for name in trained_windows(history) if name != judged.name]
    if not known or not set(known) <= set(history.names):
        return None
    released = {name for name, standing in history.standings.items() if not standing.out}
    if released & set(history.due) - set(trained_windows(history)):
        return None
    fresh = _could_learn(history, judged)
    if not set(fresh) - set(known):
        return Gain(judged.name, 0.0, 0.0, 0)
    new = keep_new_rows(history, judged, dict.fromkeys([*known, *fresh])).window
    if not len(new.labels):
        return None
    # Production's recipe as it was fitted: loop.toml may mean another one by the name now.
    use_case = replace(history.loop.use_case, recipes=bundle.use_case.recipes)
    (learner, as_production), measure = parse_recipe(live.recipe), influence_of(rules.promotion)
    newest = "newest" in use_case.training.all_histories

    def answer(kind: HistoryKind, names: Iterable[str]) -> np.ndarray:
        windows = tuple(history.read(name).labelled for name in names)
        rows, recipe = rules.retraining.trial_rows, recipe_name(learner, kind)
        small = history.loop.compute.fit_small(recipe, windows, rows, use_case)
        return score_frame(small, new.frame)

    try:
        # Code that only a version's files name is never run here.
        refuse_own_code_of_others(learner, bundle.use_case, history.loop.use_case)
        before = answer(as_production, known)
        kinds = _HISTORIES if lost and newest else _HISTORIES[:1]
        groups = number_groups(use_case, new.frame)
        found = [
            measure_delta(new.labels, answer(kind, fresh), before, _ONE_ERROR, measure, groups)
            for kind in kinds
        ]
    except ModelError:
        return None
    best = max((delta for delta in found if delta), key=lambda delta: delta.value, default=None)
    return (
        None if best is None else Gain(judged.name, best.value, best.upper - best.value, best.rows)
    )


def _could_learn(history: History[Parts], judged: LabelledWindow) -> tuple[str, ...]:
    """Windows before the judged one that a candidate would be trained on."""
    return tuple(
        name
        for name in history.due
        if position(history.names, name) < judged.index
        and name not in history.quarantined()
        and not history.read(name).violations
        and len(history.read(name).labelled.labels)
    )


def describe_gain(history: History[Parts], gain: Gain | None) -> GainFacts | None:
    """What the journal keeps of it."""
    if gain is None or not gain.rows:
        return None
    counted = count_gain(gain, history.loop.use_case.policy)
    return GainFacts(gain.on, gain.value, gain.error, counted)
