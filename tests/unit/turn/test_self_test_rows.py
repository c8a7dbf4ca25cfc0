"""The rows that a version repeats its answers on before it comes into service."""

from __future__ import annotations

import numpy as np

from closedloop.turn.register import ROWS_OF_A_CLASS, SELF_TEST_ROWS, _choose_self_test


def test_the_self_test_has_rows_of_every_class_however_rare() -> None:
    """Spread over all rows, with some of each class; a few rows are all taken."""
    labels = np.zeros(10_000, dtype=int)
    labels[[1234, 5678, 9001]] = 1
    labels[3000:3100] = 2
    chosen = _choose_self_test(labels)
    assert {1234, 5678, 9001} <= {*chosen}
    assert (labels[chosen] == 2).sum() >= ROWS_OF_A_CLASS
    assert SELF_TEST_ROWS <= len(chosen) <= SELF_TEST_ROWS + 3 * ROWS_OF_A_CLASS
    assert (np.diff(chosen) > 0).all()
    assert list(_choose_self_test(np.array([0, 1, 0]))) == [0, 1, 2]
