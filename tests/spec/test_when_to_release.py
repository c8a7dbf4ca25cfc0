"""The manual of `decide_release`: a window in quarantine, and the next labelled window as its witness."""

from __future__ import annotations

from typing import Any

import pytest

from closedloop.decisions.checks import Action
from closedloop.decisions.policy import Policy
from closedloop.decisions.quarantine import decide_quarantine, decide_release
from closedloop.decisions.retraining import decide_retraining
from tests.spec.examples import auc, drifted, quarantine, retraining, witness

BEFORE = ((950, 50), (960, 40))

# fmt: off
TABLE = [
    # situation                                             evidence                                          released
    ("a real change: production does as badly again",       witness(0.52, 0.53),                              True),
    ("and worse",                                           witness(0.52, 0.40),                              True),
    ("back to normal: the labels were wrong",               witness(0.21, 0.84),                              False),
    ("better, but by no more than chance",                  witness(0.52, 0.545),                             True),
    ("just better than by chance",                          witness(0.52, 0.55),                              False),
    ("half-way back, with many rows",                       witness(0.52, 0.70),                              False),
    ("few rows: nothing tells the two apart",               witness(0.52, 0.60, 0.10),                        True),
    ("shares that shifted are there again",                 witness(0.60, 0.60, label_counts=(590, 410), earlier_label_counts=BEFORE,
                                                                    witness_label_counts=(600, 400)),         True),
    ("shares that shifted are back",                        witness(0.60, 0.60, label_counts=(590, 410), earlier_label_counts=BEFORE,
                                                                    witness_label_counts=(950, 50)),          False),
    ("half-way back, nearer to those before",               witness(0.60, 0.60, label_counts=(590, 410), earlier_label_counts=BEFORE,
                                                                    witness_label_counts=(880, 120)),         False),
    ("shares that shifted, AUC back to normal",             witness(0.52, 0.84, label_counts=(590, 410), earlier_label_counts=BEFORE,
                                                                    witness_label_counts=(600, 400)),         False),
    ("shares of the witness shift, those of the window did not", witness(0.52, 0.52, witness_label_counts=(500, 500)), True),
    ("no window before: only AUC can tell",                 witness(0.52, 0.52, earlier_label_counts=()),     True),
]
# fmt: on


@pytest.mark.parametrize(
    ("situation", "evidence", "released"), TABLE, ids=[row[0] for row in TABLE]
)
def test_when_a_window_is_released(situation: str, evidence: Any, released: bool) -> None:
    """Each window of the table is released, or stays out of training, as the table says."""
    decision = decide_release(evidence, Policy())
    assert decision.action is (Action.RELEASE if released else Action.KEEP), decision.reason
    assert decision.window == "month_010"


def test_what_was_released_is_not_quarantined_again() -> None:
    """A window that a person or a witness released is trusted, however it looks."""
    assert decide_quarantine(quarantine(0.21), Policy()).action is Action.QUARANTINE
    trusted = decide_quarantine(quarantine(0.21, trusted_by="a person"), Policy())
    assert trusted.action is Action.KEEP
    assert trusted.reason.endswith("but month_010 was released by a person")


def test_a_turn_on_labels_that_are_not_trusted_calls_a_person() -> None:
    """Whatever else asks for a training: neither a loss on wrong labels nor a candidate judged on them
    says anything, so the turn escalates and names the command."""
    evidence = retraining(
        drift=drifted(0.9, 0.9),
        realised_auc=auc(0.21),
        quarantined="month_009",
        quarantined_because="AUC 0.21",
        requested=True,
    )
    decision = decide_retraining(evidence, Policy())
    assert decision.action is Action.ESCALATE
    assert "closedloop quarantine release month_009" in decision.reason
