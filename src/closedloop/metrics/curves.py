"""The points of the curves that show how a model did, as tables, one for each class.

Labels are integers 0..k-1, probabilities have shape (n, k). Of two classes, the second is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from closedloop.metrics.auc import Labels, Probabilities, positive_columns

BINS = 10


def measure_curves(
    labels: Labels, probabilities: Probabilities, classes: Sequence[str]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Kind of curve, class and points: `roc`, `precision_recall` and `calibration`.

    A class of which there is no row, or no other row, has no curves. A point of calibration is a
    tenth of the rows, by their probability.
    """
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve, roc_curve

    for number in positive_columns(len(classes)):
        hits, likely = (labels == number).astype(int), probabilities[:, number]
        if not 0 < hits.sum() < len(hits):
            continue
        false, true, limits = roc_curve(hits, likely)
        yield (
            "roc",
            classes[number],
            pd.DataFrame(
                {
                    "false_positive_rate": false,
                    "true_positive_rate": true,
                    "threshold": np.minimum(limits, 1.0),  # the first is infinite
                }
            ),
        )
        precision, recall, limits = precision_recall_curve(hits, likely, drop_intermediate=True)
        yield (
            "precision_recall",
            classes[number],
            pd.DataFrame(
                {"recall": recall, "precision": precision, "threshold": np.append(limits, 1.0)}
            ),
        )
        share, predicted = calibration_curve(hits, likely, n_bins=BINS, strategy="quantile")
        yield (
            "calibration",
            classes[number],
            pd.DataFrame({"predicted": predicted, "observed": share}),
        )
