"""Rows of the journal as text, and what is read from rows of older versions."""

from __future__ import annotations

import json

import pytest

from closedloop.decisions.checks import Action, Check, Decision, Kind, Numbers, Outcome, Role
from closedloop.storage.details import (
    PromotionDetails,
    RealisedFacts,
    TurnDetails,
    WindowFacts,
    read_details,
    write_details,
)
from closedloop.storage.rows import (
    Origin,
    OutcomeNote,
    read_checks,
    read_note,
    read_origin,
    write_checks,
    write_note,
)


@pytest.mark.parametrize(
    ("details", "key", "origin"),
    [
        ({}, "shop/w1/retraining/data/policy", Origin.LOOP),
        ({}, "shop/w1/requested/data/policy", Origin.PERSON),
        ({"production": 1}, "shop/by-hand/promote/2/after-7", Origin.PERSON),
        ({"origin": "loop"}, "shop/by-hand/retraining/data/policy", Origin.LOOP),
        ({"origin": "person"}, "any key", Origin.PERSON),
    ],
)
def test_who_asked_is_a_field_and_only_in_older_rows_part_of_the_key(
    details: dict[str, str], key: str, origin: Origin
) -> None:
    """The field wins: a window may have a name like a part of an older key."""
    assert read_origin(details, key) is origin


def test_checks_of_older_rows_sum_up_as_they_did() -> None:
    """Without the field, val_auc and the delta are what a promotion says of itself, as before."""
    older = [
        {"claim": claim, "outcome": "holds", "role": "gate", "wanted": "w", "got": got}
        for claim, got in (("val_auc", "0.8"), ("F1", "0.5"), ("delta on w1", "+0.01"))
    ]
    decision = Decision(Kind.PROMOTION, Action.PROMOTE, "w1", read_checks(json.dumps(older)), 2)
    assert decision.reason == "all 3 gates hold; val_auc: 0.8; delta on w1: +0.01"


def test_checks_come_back_as_written() -> None:
    """A check keeps its summary, its numbers, and whether it sums up the decision."""
    checks = (
        Check("val_auc", Outcome.HOLDS, Role.GATE, "w", "g"),
        Check("anything", Outcome.FAILS, Role.NOTE, "w", "g", "in words", headline=True),
        Check("d", Outcome.HOLDS, Role.GATE, "w", "g", numbers=Numbers(0.01, 0.0, -0.01, 0.03)),
    )
    assert read_checks(write_checks(checks)) == checks
    assert "numbers" not in json.loads(write_checks(checks))[0]


def test_the_decision_that_superseded_another_is_an_id() -> None:
    """Written as data or, by an older version, as a sentence: both read alike, and print alike."""
    sentence = "decision 12 (rollback) was carried out meanwhile"
    note = OutcomeNote(superseded_by=12, action="rollback")
    assert read_note(sentence) == note == read_note(write_note(note))
    assert str(note) == sentence
    plain = OutcomeNote("production is meanwhile version 3")
    assert read_note(write_note(plain)) == plain


def test_details_of_other_versions_are_read() -> None:
    """A key that a newer row adds is ignored, a key that an older row lacks is None, and a group
    that is not there stays out of the JSON."""
    content = {"production": 3, "rows": 10, "realised_on": "w1", "quarantined": True, "news": [1]}
    details = read_details(TurnDetails, content)
    assert details == TurnDetails(
        3, window=WindowFacts(10), realised=RealisedFacts("w1", None, True)
    )
    assert read_details(TurnDetails, write_details(details)) == details
    assert write_details(PromotionDetails(4)) == {"production": 4, "bundle": None}
