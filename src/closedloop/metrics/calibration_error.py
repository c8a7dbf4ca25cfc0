"""How far probabilities are from what happens: of rows answered 0.3, do three of ten come true?"""

from __future__ import annotations

import numpy as np

from closedloop.metrics.auc import Labels, Probabilities, positive_columns

BINS = 10


def measure_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Mean distance between probability and share of the class, over bins of equally many rows.

    Expected calibration error, 0 to 1, of the positive class of two, otherwise averaged over the
    classes (Naeini, Cooper and Hauskrecht 2015, AAAI; Kull and others 2019, NeurIPS). Needs a row.
    """
    return float(
        np.mean(
            [
                _measure_class(labels == column, probabilities[:, column])
                for column in positive_columns(probabilities.shape[1])
            ]
        )
    )


def _measure_class(happened: np.ndarray, probabilities: np.ndarray) -> float:
    _, group = np.unique(probabilities, return_inverse=True)
    rows = np.bincount(group)
    # A tie has no order: each of its rows stands for the share of all of them.
    share = (np.bincount(group, weights=happened) / rows)[group]
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(share[order] - probabilities[order], min(BINS, len(order)))
    return sum(abs(float(part.sum())) for part in parts) / len(order)
