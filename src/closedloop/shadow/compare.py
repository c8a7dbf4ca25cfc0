"""Two versions' answers to the same rows: how many agree, in which slices they do not, and how far
the scores moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.shadow import SliceFlips
from closedloop.metrics.auc import positive_columns
from closedloop.metrics.comparison import slice_rows
from closedloop.metrics.threshold import answer_classes
from closedloop.use_case.contract import Slice

Probabilities = NDArray[np.floating]


def find_flips(
    ours: Probabilities,
    theirs: Probabilities,
    threshold: float | None,
    their_threshold: float | None,
) -> NDArray[np.bool_]:
    """Which rows get another prediction, shape (n,); each version has its own threshold."""
    return np.not_equal(answer_classes(ours, threshold), answer_classes(theirs, their_threshold))


def count_flips(
    flips: NDArray[np.bool_], prepared: pd.DataFrame, slices: Sequence[Slice]
) -> tuple[SliceFlips, ...]:
    """The same by slice; `prepared` has a row for each."""
    found = []
    for part in slices:
        rows = slice_rows(prepared, part)
        found.append(SliceFlips(part.name, part.protected, int(rows.sum()), int(flips[rows].sum())))
    return tuple(found)


def measure_shift(ours: Probabilities, theirs: Probabilities) -> float | None:
    """Kolmogorov-Smirnov distance of the scores, 0 to 1, the largest over the classes.

    None without rows.
    """
    if not len(ours):
        return None
    return max(
        _distance(ours[:, column], theirs[:, column]) for column in positive_columns(ours.shape[1])
    )


def _distance(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    places = np.concatenate([ours, theirs])
    shares = [
        np.searchsorted(np.sort(side), places, side="right") / len(side) for side in (ours, theirs)
    ]
    return float(np.abs(shares[0] - shares[1]).max())
