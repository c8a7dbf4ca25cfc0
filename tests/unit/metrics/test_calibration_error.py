"""How far probabilities are from what happens, where that is known."""

from __future__ import annotations

import numpy as np
import pytest

from closedloop.metrics.calibration_error import measure_calibration_error


def test_what_is_known_to_be_off_is_measured() -> None:
    """Drawn as they say, probabilities are off by chance alone; all of them raised by 0.1, by 0.1;
    one for all rows, by its distance from the share."""
    draw = np.random.default_rng(1)
    truth = draw.uniform(0.1, 0.8, 50_000)
    labels = (draw.random(50_000) < truth).astype(np.int64)
    for raised, wanted in ((0.0, 0.0), (0.1, 0.1)):
        found = np.column_stack([1 - truth - raised, truth + raised])
        assert measure_calibration_error(labels, found) == pytest.approx(wanted, abs=0.008)
    same = np.tile([0.8, 0.2], (50_000, 1))
    assert measure_calibration_error(labels, same) == pytest.approx(labels.mean() - 0.2)
    # Sorted by label, the same rows are no further off.
    assert measure_calibration_error(np.sort(labels), same) == pytest.approx(labels.mean() - 0.2)


def test_several_classes_are_averaged() -> None:
    """Of three classes, two are off by 0.2 and one is right: 0.4 in three parts."""
    labels = np.repeat([0, 1, 2], [40, 40, 20])
    answers = np.tile([0.2, 0.6, 0.2], (100, 1))
    assert measure_calibration_error(labels, answers) == pytest.approx(0.4 / 3)
    assert measure_calibration_error(labels[:1], np.array([[1.0, 0.0, 0.0]])) == 0.0
