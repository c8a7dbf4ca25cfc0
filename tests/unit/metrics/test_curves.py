"""The points of curves are those of their definition."""

from __future__ import annotations

import numpy as np
import pandas as pd

from closedloop.metrics.curves import measure_curves


def test_the_points_of_two_classes() -> None:
    """One row of four is ranked wrongly: it is a step of the ROC and a loss of precision."""
    likely = np.array([0.1, 0.4, 0.35, 0.8])
    probabilities = np.column_stack([1 - likely, likely])
    found = {
        kind: points.round(3)
        for kind, label, points in measure_curves(
            np.array([0, 0, 1, 1]), probabilities, ("no", "yes")
        )
        if label == "yes"
    }
    assert list(found) == ["roc", "precision_recall", "calibration"]
    roc = found["roc"][["false_positive_rate", "true_positive_rate"]].to_numpy().tolist()
    assert roc == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert found["roc"]["threshold"].tolist() == [1, 0.8, 0.4, 0.35, 0.1]
    precision = found["precision_recall"].set_index("threshold")["precision"].to_dict()
    assert precision == {0.1: 0.5, 0.35: 0.667, 0.4: 0.5, 0.8: 1.0, 1.0: 1.0}
    wanted = pd.DataFrame({"predicted": likely[[0, 2, 1, 3]], "observed": [0.0, 1.0, 0.0, 1.0]})
    pd.testing.assert_frame_equal(found["calibration"], wanted)


def test_a_class_without_rows_has_no_curves() -> None:
    """Of three classes, those with rows are shown; with one class alone there is nothing to tell
    apart."""
    probabilities = np.tile([0.5, 0.3, 0.2], (4, 1))
    classes = ("a", "b", "c")
    some = {label for _, label, _ in measure_curves(np.array([0, 0, 1, 1]), probabilities, classes)}
    assert some == {"a", "b"}
    assert list(measure_curves(np.zeros(4, dtype=int), probabilities, classes)) == []
