"""How production does on labelled rows that it was not trained on, and beside the version that it
replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from closedloop.decisions.evidence import Estimate, LoopState, RollbackEvidence
from closedloop.decisions.quarantine import is_quarantined, labels_shifted
from closedloop.metrics.auc import estimate_auc, measure_delta
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.turn.without_labels import estimated_before
from closedloop.windows.order import position


@dataclass(frozen=True)
class Realised:
    """How production did on `judged`, the newest labelled rows that it was not trained on; None
    where there are none or it cannot be asked. `newer` are all windows with such rows, oldest
    first; `details` are the facts that the journal keeps."""

    newer: tuple[str, ...]
    judged: LabelledWindow | None
    auc: Estimate | None
    details: dict[str, Any]


def judge_production(history: History[Parts], state: LoopState) -> Realised:
    """What production realised on the newest labelled window that it was not trained on, and
    whether its labels are to be believed."""
    newer = history.newer_than(history.production.trained_through if history.production else None)
    judged = next(
        (
            history.read(name).labelled
            for name in reversed(newer)
            if len(history.read(name).labelled.labels)
        ),
        None,
    )
    auc = (
        _measure_realised(history, judged)
        if judged is not None and history.bundle is not None
        else None
    )
    if judged is None or auc is None:
        return Realised(newer, judged, None, {})
    details = {
        "realised_on": judged.name,
        "realised_auc": auc.value,
        "quarantined": suspect(history, judged, auc),
        "estimated_for_judged": estimated_before(history.entries, judged.name, state.production),
    }
    return Realised(newer, judged, auc, details)


def watch_promotion(
    history: History[Parts], state: LoopState, judged: LabelledWindow | None
) -> RollbackEvidence | None:
    """What a rollback would have to know; None while production is not on probation."""
    since = None if state.promoted_at is None else history.index - state.promoted_at
    # Only while it can matter: production against previous costs loading and asking a second model.
    watched = (
        since is not None
        and 1 <= since <= history.loop.use_case.policy.rollback.probation_windows
        and state.previous is not None
    )
    return (
        RollbackEvidence(
            history.read(history.window).facts, state, _measure_regret(history, judged)
        )
        if watched
        else None
    )


def suspect(history: History[Parts], judged: LabelledWindow, realised: Estimate) -> bool:
    """Are the labels of a window, on which production realised this AUC, more likely wrong than
    new?"""
    rules, expected = (
        history.loop.use_case.policy.quarantine,
        history.production.val_auc if history.production else None,
    )
    earlier = [
        history.read(name).labelled
        for name in history.due
        if position(history.names, name) < judged.index
    ]
    classes = len(history.loop.use_case.target.classes)
    counts = [
        tuple(np.bincount(one.labels, minlength=classes).tolist())
        for one in (*earlier, judged)
        if len(one.labels)
    ]
    below = is_quarantined(realised, history.realised_before(judged.name), expected, rules)
    return below or labels_shifted(counts[-1], tuple(counts[:-1]), rules)


def _measure_realised(history: History[Parts], judged: LabelledWindow) -> Estimate | None:
    answers = history.answers(judged.name, labelled=True)
    return estimate_auc(judged.labels, answers, history.loop.use_case.policy.promotion.confidence)


def _measure_regret(history: History[Parts], judged: LabelledWindow | None) -> Estimate | None:
    """Production minus previous on the newest labelled rows that are newer than both."""
    before = history.previous
    if judged is None or before is None or history.bundle is None:
        return None
    fitted_through = history.place(before.trained_through)
    if fitted_through is not None and judged.index <= fitted_through:
        return None
    previous = history.loop.registry.load(before.version)
    confidence = history.loop.use_case.policy.rollback.confidence
    return measure_delta(
        judged.labels,
        history.answers(judged.name, labelled=True),
        previous.probabilities(judged.frame),
        confidence,
    )
