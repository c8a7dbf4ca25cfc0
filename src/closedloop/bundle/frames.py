"""Prepared frames to the arrays that a scorer takes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.bundle.scorer import Scorer, largest_difference


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
    packed = pack_frame(prepared, scorer.numeric, scorer.categorical)
    return np.asarray(scorer.probabilities(*packed), dtype=np.float64)


def measure_difference(ours: Scorer, theirs: Scorer, prepared: pd.DataFrame) -> float:
    """Largest difference between two scorers' probabilities on the same rows; 0 without rows."""
    if prepared.empty:
        return 0.0
    return largest_difference(score_frame(ours, prepared), score_frame(theirs, prepared))
