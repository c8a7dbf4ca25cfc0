"""The manual of `decide_quarantine`: which labelled windows are kept out of training, because their labels are suspect."""

from __future__ import annotations

import pytest

from closedloop.decisions.checks import Action, Outcome
from closedloop.decisions.policy import Policy
from closedloop.decisions.quarantine import decide_quarantine
from closedloop.decisions.quarantine_policy import QuarantinePolicy
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
ERRORS = [
    # situation                                      AUC    +- earlier                       errors       promoted with  error  quarantined
    ("older journals kept no error",                 0.60,  0, (0.80, 0.80, 0.80),           (),                   0.80,  None,  True),
    ("each window before was measured on few rows",  0.60,  0, (0.80, 0.80, 0.80),           (0.06, 0.06, 0.06),   0.80,  None,  False),
    ("far enough below what was measured on few",    0.55,  0, (0.80, 0.80, 0.80),           (0.06, 0.06, 0.06),   0.80,  None,  True),
    ("one of them may have been as low",             0.60,  0, (0.80, 0.80, 0.80),           (0.01, 0.01, 0.06),   0.80,  None,  False),
    ("the worst of them is sure, a better one not",  0.60,  0, (0.90, 0.80, 0.90),           (0.12, 0.01, 0.01),   0.80,  None,  False),
    ("an error of long ago does not count",          0.60,  0, (0.80, 0.80, 0.80, 0.80),     (0.3, 0.01, 0.01, 0.01), 0.80, None, True),
    ("an error that older turns did not keep is 0",  0.60,  0, (0.80, 0.80, 0.80),           (0.01,),              0.80,  None,  True),
    ("the val_auc of the promotion has one, too",    0.60,  0, (),                           (),                   0.80,  0.06,  False),
    ("both have one, together more than either",     0.60,  0.08, (0.80, 0.80, 0.80),        (0.04, 0.04, 0.04),   0.80,  None,  False),
    ("as is, its own would not have been enough",    0.60,  0.08, (0.80, 0.80, 0.80),        (),                   0.80,  None,  True),
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
    ("no positive after five in 300: by chance",     (300, 0),       ((295, 5),),                        USUAL,  False),
    ("ten times the odds of three in 300: by chance", (273, 27),    ((297, 3),),                        USUAL,  False),
    ("as much in 30,000 rows is certain",            (27300, 2700),  ((29700, 300),),                    USUAL,  True),
    ("classes swapped, three positives before",      (3, 297),       ((297, 3),),                        USUAL,  True),
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
    ("situation", "auc", "chance", "earlier", "errors", "expected", "error", "wanted"),
    ERRORS,
    ids=[row[0] for row in ERRORS],
)
def test_windows_before_have_errors_of_chance_too(
    situation: str,
    auc: float,
    chance: float,
    earlier: tuple[float, ...],
    errors: tuple[float, ...],
    expected: float | None,
    error: float | None,
    wanted: bool,
) -> None:
    """An AUC is far below others only beyond what both errors together explain, as the table says."""
    evidence = quarantine(
        auc,
        chance,
        earlier_aucs=earlier,
        earlier_errors=errors,
        expected_auc=expected,
        expected_auc_error=error,
    )
    assert (decide_quarantine(evidence, Policy()).action is Action.QUARANTINE) is wanted, situation


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
