"""The reference of a version: rows that later windows are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from closedloop.turn.candidate import Candidate
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.turn.watched_columns import PREDICTION, TARGET
from closedloop.turn.window_drift import watched_frame

REFERENCE_ROWS = 20_000


def make_reference(history: History[Parts], candidate: Candidate) -> pd.DataFrame:
    """A bounded sample of the training rows.

    Predictions are the twin's, on the evaluation rows that it had not seen: a model is too sure of
    its own training rows to compare them with its predictions on new ones.
    """
    parts, honest = [], dict(_split_honest(candidate))
    for window in candidate.refitted:
        frame = watched_frame(window.frame, None, history)
        if window.name in honest:
            seen = watched_frame(*honest[window.name], history)
            both = frame.index.intersection(seen.index)  # of a large window each may be a part
            frame.loc[both, PREDICTION] = seen.loc[both, PREDICTION]
        parts.append(frame)
    whole = pd.concat(parts, ignore_index=True)
    if len(whole) > REFERENCE_ROWS:
        whole = whole.sample(
            REFERENCE_ROWS, random_state=history.loop.use_case.training.seed
        ).reset_index(drop=True)
    return whole.drop(columns=[TARGET]) if whole[TARGET].isna().all() else whole


def _split_honest(candidate: Candidate) -> Iterator[tuple[str, tuple[pd.DataFrame, np.ndarray]]]:
    """The rows that judged and the twin's predictions on them, window by window."""
    end = 0
    for window in candidate.split.judges:
        start, end = end, end + len(window.labels)
        yield window.name, (window.frame, candidate.honest_predictions[start:end])
