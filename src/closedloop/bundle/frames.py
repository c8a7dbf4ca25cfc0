"""Prepared frames to the arrays that a scorer takes, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.bundle.scorer import Scorer, largest_difference

_BATCH_ROWS = 50_000


def pack_frame(
    prepared: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """`numbers` (n, f) and `texts` (n, c) of a prepared frame; other columns are left out."""
    return prepared[list(numeric)].to_numpy(dtype=np.float64), prepared[list(categorical)].to_numpy(
        dtype=object
    )


def unpack_frame(
    numbers: NDArray[Any], texts: NDArray[Any], numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """The prepared frame that `pack_frame` would pack into these arrays."""
    columns: dict[str, Any] = {
        name: np.asarray(numbers[:, place], dtype=float) for place, name in enumerate(numeric)
    }
    columns |= {
        name: pd.Series(texts[:, place], dtype=object) for place, name in enumerate(categorical)
    }
    return pd.DataFrame(columns, index=range(len(numbers)))


def score_frame(scorer: Scorer, prepared: pd.DataFrame) -> NDArray[np.float64]:
    """Class probabilities of a prepared frame, float64 (n, k); its columns are taken by name."""
    answers = [
        scorer.probabilities(*pack_frame(rows, scorer.numeric, scorer.categorical))
        for rows in in_batches(prepared)
    ]
    return np.concatenate(answers).astype(np.float64, copy=False)


def in_batches(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows, as many at a time as a model is asked about: it makes wide matrices of them."""
    for first in range(0, max(1, len(frame)), _BATCH_ROWS):
        yield frame.iloc[first : first + _BATCH_ROWS]


def measure_difference(ours: Scorer, theirs: Scorer, prepared: pd.DataFrame) -> float:
    """Largest difference between two scorers' probabilities on the same rows; 0 without rows."""
    if prepared.empty:
        return 0.0
    return largest_difference(score_frame(ours, prepared), score_frame(theirs, prepared))
