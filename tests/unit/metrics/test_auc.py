"""AUC against scikit-learn, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from closedloop.errors import ModelError
from closedloop.metrics.auc import estimate_auc, measure_auc, measure_delta
from tests.made_answers import binary, several


def test_auc_is_scikit_learns() -> None:
    """Two classes and macro one-versus-rest for four, with ties."""
    labels, probabilities = binary(500, 6, 2)
    assert measure_auc(labels, probabilities) == pytest.approx(
        roc_auc_score(labels, probabilities[:, 1]), abs=1e-12
    )
    labels, probabilities = several(500, 4, 6)
    assert measure_auc(labels, probabilities) == pytest.approx(
        roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-12
    )


def test_an_absent_class_is_unknown() -> None:
    """No row of a class: no AUC. One row: an AUC, but no interval and no delta."""
    labels, probabilities = several(60, 3, 1)
    without, rows = labels != 2, np.flatnonzero(labels != 2)
    assert measure_auc(labels[without], probabilities[without]) is None
    single = np.r_[rows, np.flatnonzero(labels == 2)[0]]
    labels, probabilities = labels[single], probabilities[single]
    assert measure_auc(labels, probabilities) is not None
    assert estimate_auc(labels, probabilities, 0.95) is None
    assert measure_delta(labels, probabilities, probabilities, 0.95) is None


@pytest.mark.parametrize(
    "probabilities",
    [
        np.full((3, 2), 0.5),
        np.full((4, 1), 1.0),
        np.full(4, 0.5),
        np.array([[0.5, 0.5]] * 3 + [[np.nan, 0.5]]),
    ],
    ids=["rows", "one class", "one dimension", "not a number"],
)
def test_what_does_not_fit_the_labels_is_refused(probabilities: NDArray[np.float64]) -> None:
    """A wrong shape or a NaN is an error with a next step, never a number."""
    with pytest.raises(ModelError, match="scoring: wanted finite probabilities for 4 rows"):
        measure_auc(np.array([0, 1, 0, 1]), probabilities)


def test_models_of_different_classes_are_not_compared() -> None:
    """Production with another number of classes is refused, so that the loop can escalate it."""
    with pytest.raises(ModelError, match="two models of the same classes"):
        measure_delta(np.array([0, 1, 0, 1]), np.full((4, 2), 0.5), np.full((4, 3), 0.3), 0.95)
