"""Generated labels and model answers, for tests of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def binary(
    rows: int, seed: int, decimals: int = 3, strength: float = 1.0, share: float = 0.4
) -> tuple[Labels, Floats]:
    """Labels and probabilities of two classes, each with at least two rows.

    Few `decimals` make many ties; `share` is that of the positive class.
    """
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < share).astype(np.int64)
    labels[:4] = [0, 1, 0, 1]
    positive = np.round(
        1 / (1 + np.exp(-(strength * labels + rng.normal(size=rows) - 0.5))), decimals
    )
    return labels, np.column_stack([1 - positive, positive])


def several(rows: int, classes: int, seed: int) -> tuple[Labels, Floats]:
    """As `binary` for more classes, which are equally frequent."""
    rng = np.random.default_rng(seed)
    labels = np.r_[
        np.arange(classes), np.arange(classes), rng.integers(0, classes, rows - 2 * classes)
    ]
    raw = np.round(np.exp(rng.normal(size=(rows, classes)) + np.eye(classes)[labels]), 1) + 0.1
    return labels, raw / raw.sum(axis=1, keepdims=True)


def equal_models(labels: Labels, seed: int, strength: float = 1.2) -> tuple[Floats, Floats]:
    """Two equally good models of two classes that mostly agree: a common signal and own noise."""
    rng = np.random.default_rng(seed)
    common = strength * labels + rng.normal(size=len(labels))
    first, second = (common + 0.6 * rng.normal(size=len(labels)) for _ in range(2))
    return np.column_stack([-first, first]), np.column_stack([-second, second])
