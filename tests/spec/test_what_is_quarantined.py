"""The manual of `is_quarantined`: which labelled windows are kept out of training because their labels are suspect."""

from __future__ import annotations

import pytest

from closedloop.decisions import is_quarantined
from closedloop.policy import QuarantinePolicy

USUAL = QuarantinePolicy()
SHORT = QuarantinePolicy(memory_windows=1)

# fmt: off
TABLE = [
    # situation                                      AUC    earlier, oldest first       policy  quarantined
    ("as ever",                                      0.80,  (0.81, 0.80, 0.79),         USUAL,  False),
    ("worse, as drift makes it",                     0.72,  (0.81, 0.80, 0.79),         USUAL,  False),
    ("exactly the largest drop that is believed",    0.50,  (0.75, 0.70, 0.625),        QuarantinePolicy(max_auc_drop=0.125), False),
    ("just below it",                                0.49,  (0.75, 0.70, 0.625),        QuarantinePolicy(max_auc_drop=0.125), True),
    ("swapped classes",                              0.21,  (0.81, 0.80, 0.79),         USUAL,  True),
    ("far below the best, near the worst",           0.60,  (0.90, 0.65, 0.90),         USUAL,  False),
    ("the bad window is too long ago to count",      0.60,  (0.65, 0.90, 0.90, 0.90),   USUAL,  True),
    ("too few earlier windows: nothing is known",    0.21,  (0.81, 0.80),               USUAL,  False),
    ("no earlier window: nothing is known",          0.21,  (),                         USUAL,  False),
    ("a memory of one window",                       0.60,  (0.60, 0.80),               SHORT,  True),
    ("a drop of nothing is believed",                0.79,  (0.80, 0.80, 0.80),         QuarantinePolicy(max_auc_drop=0), True),
]
# fmt: on


@pytest.mark.parametrize(("situation", "auc", "earlier", "policy", "wanted"), TABLE, ids=[row[0] for row in TABLE])
def test_what_is_quarantined(situation: str, auc: float, earlier: tuple[float, ...], policy: QuarantinePolicy, wanted: bool) -> None:
    """Each window of the table is kept out of training, or is not, as the table says."""
    assert is_quarantined(auc, earlier, policy) is wanted, situation
