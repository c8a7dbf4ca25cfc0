"""Generated labels and model answers, for tests of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

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


def rows_of_customers(
    customers: int, share: float, seed: int, *, unequal: bool = False, alike: float = 0.5
) -> tuple[Labels, NDArray[np.int64], Floats, Floats]:
    """Labels, customers and two equally good models, where each customer has about 10 rows.

    A customer has an effect of its own on its labels, on what both models see, and on the error of
    each model: `alike` is the share of a model's own noise that all rows of a customer have in
    common. `unequal` customers have 1 to about 60 rows. `share` is that of the positive class.
    """
    rng = np.random.default_rng(seed)
    sizes = np.full(customers, 10)
    if unequal:
        sizes = np.maximum(1, np.round(rng.lognormal(np.log(10) - 0.5, 1.0, customers))).astype(int)
    groups = np.repeat(np.arange(customers), sizes)

    def noise(common: float) -> Floats:
        of_customers, of_rows = rng.normal(size=customers), rng.normal(size=len(groups))
        return np.sqrt(common) * of_customers[groups] + np.sqrt(1 - common) * of_rows

    labels = (noise(0.25) < norm.ppf(share)).astype(np.int64)
    seen = 1.2 * labels + noise(0.25)
    first, second = (seen + 0.6 * noise(alike) for _ in range(2))
    return labels, groups, np.column_stack([-first, first]), np.column_stack([-second, second])
