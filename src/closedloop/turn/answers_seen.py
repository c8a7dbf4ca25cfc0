"""How production and the version that it replaced answer a window: nothing here needs labels."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.evidence import LoopState
from closedloop.decisions.rollback_evidence import Answers, AnswersSeen
from closedloop.errors import ModelError, RegistryError
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.turn.watched_columns import PREDICTION

# Places of the distributions of scores that are compared: enough for a distance to three digits.
_QUANTILES = np.linspace(0.0005, 0.9995, 1000)


def on_probation(history: History[Parts], state: LoopState) -> bool:
    """Whether the watch after a promotion goes on: only then is a second model loaded and asked."""
    since = None if state.promoted_at is None else history.index - state.promoted_at
    rules = history.loop.use_case.policy.rollback
    return since is not None and 1 <= since <= rules.probation_windows and bool(state.previous)


def load_previous(history: History[Parts]) -> LoadedVersion | None:
    """The version that production replaced; None if there is none that can answer these rows."""
    if history.previous is None:
        return None
    try:
        previous = history.loop.registry.load(history.previous.version)
    except (ModelError, RegistryError):
        return None
    return None if previous.tell_mismatch(history.loop.use_case) else previous


def look_at_answers(history: History[Parts], state: LoopState) -> AnswersSeen | None:
    """Both versions on all rows of the current window; None while nothing is on probation.

    An error of a model is what is looked for here, so it is a finding.
    """
    if not on_probation(history, state) or history.bundle is None:
        return None
    previous, rows = load_previous(history), history.read(history.window).prepared
    if previous is None or rows.empty:
        return None
    return AnswersSeen(
        len(rows),
        _look(history.bundle, partial(history.answers, history.window)),
        _look(previous, partial(score_frame, previous.scorer, rows)),
    )


def _look(version: LoadedVersion, ask: partial[NDArray[np.float64]]) -> Answers:
    try:
        answers = ask()
    except Exception as error:  # whatever a model raises: it may be of the user's own making
        return Answers(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    broken = int((~np.isfinite(answers)).any(axis=1).sum())
    if broken:
        return Answers(f"{broken} of {len(answers)} rows without finite probabilities")
    _, counts = np.unique(answers.round(9), axis=0, return_counts=True)
    return Answers("", float(counts.max() / len(answers)), _measure_shift(version, answers))


def _measure_shift(version: LoadedVersion, answers: NDArray[np.float64]) -> float | None:
    """The distance of its scores from those of its twin on the rows that it was judged by.

    Of two classes, the mean distance of the probabilities of the second (Wasserstein's); of more,
    half the sum of the differences of the shares of each likeliest class. Both are 0 to 1.
    """
    try:
        reference = version.reference()
    except (ModelError, OSError, ValueError):
        return None
    if PREDICTION not in reference:
        return None
    judged = reference[PREDICTION].dropna()
    if judged.empty:
        return None
    if answers.shape[1] == 2:
        ours = np.quantile(answers[:, 1], _QUANTILES)
        theirs = np.quantile(judged.to_numpy(dtype=float), _QUANTILES)
        return float(np.abs(ours - theirs).mean())
    classes = version.facts.classes
    now = np.bincount(answers.argmax(axis=1), minlength=len(classes)) / len(answers)
    shares = judged.astype(str).value_counts(normalize=True)
    before = pd.Series(shares).reindex(list(classes), fill_value=0.0).to_numpy()
    return float(np.abs(now - before).sum() / 2)
