"""The manual of `decide_quarantine`: which labelled windows are kept out of training, because their labels are suspect."""

from __future__ import annotations

import pytest

from closedloop.decisions.checks import Action, Outcome
from closedloop.decisions.policy import Policy, QuarantinePolicy
from closedloop.decisions.quarantine import decide_quarantine
from tests.spec.examples import quarantine

USUAL, EIGHTH, NONE = (
    QuarantinePolicy(),
    QuarantinePolicy(max_auc_drop=0.125),
    QuarantinePolicy(max_auc_drop=0),
)
SHORT = QuarantinePolicy(memory_windows=1)

# fmt: off
TABLE = [
    # situation                                      AUC    +- earlier, oldest first       promoted with  policy  quarantined
    ("as ever",                                      0.80,  0, (0.81, 0.80, 0.79),         0.80,  USUAL,  False),
    ("worse, as drift makes it",                     0.72,  0, (0.81, 0.80, 0.79),         0.80,  USUAL,  False),
    ("exactly the largest drop that is believed",    0.50,  0, (0.75, 0.70, 0.625),        0.80,  EIGHTH, False),
    ("just below it",                                0.49,  0, (0.75, 0.70, 0.625),        0.80,  EIGHTH, True),
    ("swapped classes",                              0.21,  0.02, (0.81, 0.80, 0.79),      0.80,  USUAL,  True),
    ("far below, but with so few rows by chance",    0.60,  0.10, (0.81, 0.80, 0.79),      0.80,  USUAL,  False),
    ("far below the best, near the worst",           0.60,  0, (0.90, 0.65, 0.90),         0.80,  USUAL,  False),
    ("the bad window is too long ago to count",      0.60,  0, (0.65, 0.90, 0.90, 0.90),   0.80,  USUAL,  True),
    ("few earlier windows, and what was expected",   0.21,  0, (0.81, 0.80),               0.80,  USUAL,  True),
    ("no earlier window, but what was expected",     0.21,  0, (),                         0.80,  USUAL,  True),
    ("few earlier windows: less was expected",       0.60,  0, (0.81, 0.80),               0.65,  USUAL,  False),
    ("nothing is known",                             0.21,  0, (0.81, 0.80),               None,  USUAL,  False),
    ("a full memory is enough",                      0.60,  0, (0.81, 0.80, 0.79),         None,  USUAL,  True),
    ("a memory of one window",                       0.60,  0, (0.60, 0.80),               0.60,  SHORT,  True),
    ("a drop of nothing is believed",                0.79,  0, (0.80, 0.80, 0.80),         0.80,  NONE,   True),
]
SHARES = [
    # situation                                      rows by class   earlier, oldest first               policy  shifted
    ("as ever",                                      (900, 100),     ((910, 90), (880, 120)),            USUAL,  False),
    ("twice as many positives",                      (800, 200),     ((900, 100), (900, 100)),           USUAL,  False),
    ("40 % of the labels flipped, positives rare",   (590, 410),     ((950, 50), (960, 40)),             USUAL,  True),
    ("the classes swapped",                          (50, 950),      ((950, 50), (960, 40)),             USUAL,  True),
    ("near one of the last windows is near enough",  (590, 410),     ((950, 50), (700, 300)),            USUAL,  False),
    ("that window is too long ago to count",         (590, 410),     ((700, 300), (950, 50)),            SHORT,  True),
    ("one class of three came from nowhere",         (450, 450, 100), ((500, 500, 0), (500, 500, 0)),    USUAL,  True),
    ("three rows of a new class",                    (500, 497, 3),  ((500, 500, 0), (500, 500, 0)),     USUAL,  False),
    ("no earlier window: nothing is known",          (50, 950),      (),                                 USUAL,  False),
]
# fmt: on


@pytest.mark.parametrize(
    ("situation", "auc", "chance", "earlier", "expected", "policy", "wanted"),
    TABLE,
    ids=[row[0] for row in TABLE],
)
def test_what_is_quarantined(
    situation: str,
    auc: float,
    chance: float,
    earlier: tuple[float, ...],
    expected: float | None,
    policy: QuarantinePolicy,
    wanted: bool,
) -> None:
    """Each window of the table is quarantined for production's AUC on it, or is not, as the table says."""
    evidence = quarantine(auc, chance, earlier_aucs=earlier, expected_auc=expected)
    decision = decide_quarantine(evidence, Policy(quarantine=policy))
    assert (decision.action is Action.QUARANTINE) is wanted, situation
    assert (decision.checks[0].outcome is Outcome.HOLDS) is wanted, situation


@pytest.mark.parametrize(
    ("situation", "counts", "earlier", "policy", "wanted"), SHARES, ids=[row[0] for row in SHARES]
)
def test_when_labels_have_shifted(
    situation: str,
    counts: tuple[int, ...],
    earlier: tuple[tuple[int, ...], ...],
    policy: QuarantinePolicy,
    wanted: bool,
) -> None:
    """Each window of the table is quarantined for the shares of its classes, or is not, as the table says."""
    evidence = quarantine(0.80, label_counts=counts, earlier_label_counts=earlier)
    decision = decide_quarantine(evidence, Policy(quarantine=policy))
    assert (decision.action is Action.QUARANTINE) is wanted, situation
    assert (decision.checks[1].outcome is Outcome.HOLDS) is wanted, situation


def test_what_is_unknown_quarantines_nothing() -> None:
    """Without earlier windows and without the AUC of the promotion both checks are unknown, and the window stays."""
    decision = decide_quarantine(
        quarantine(0.21, earlier_aucs=(), expected_auc=None, earlier_label_counts=()), Policy()
    )
    assert decision.action is Action.KEEP
    assert {check.outcome for check in decision.checks} == {Outcome.UNKNOWN}
