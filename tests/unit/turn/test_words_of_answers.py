"""What people type into an answer: hostile words, none, and the wrong decision."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from closedloop.errors import StoreError, UseCaseError
from closedloop.turn.approval import approve, reject, waiting
from closedloop.turn.carry_out import carry_out
from closedloop.use_case.loop_toml import parse_use_case
from tests.unit.turn.asked_shop import WHY, prepare, say_yes, wait_for
from tests.unit.turn.conftest import CONTENT, Place

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Versions 1 and 2 were promoted, 3 and 4 are candidates; the rows are as they were."""
    monkeypatch.setattr("closedloop.turn.approval.find_changed_rows", lambda *_: "")
    return prepare(place)


HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "\x1b]0;owned\x07\x1b[2J",
    "two\nlines\r\n# and a heading",
    "a\x00b",
    "\udcff bytes that are no text",
    "'; drop table decisions; --",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_kept_as_text(shop: Place, words: str) -> None:
    """In one line, without what acts on a terminal, and the same when it is read again."""
    wait = wait_for(shop, 3)
    answer = approve(shop.loop, wait.id, by=words, reason=words, act=carry_out)
    assert answer == shop.loop.journal.entry(answer.id)
    for kept in (answer.by, answer.why):
        assert kept
        assert kept.isprintable()
        kept.encode()
    assert shop.loop.journal.read_chain("shop").faults == ()
    json.dumps(answer.as_json()).encode()


@pytest.mark.parametrize("words", ["", " \n\t", "x" * 2001, "x" * 2**20, "\x1b" * 1000])
def test_words_that_cannot_be_kept_are_refused(shop: Place, words: str) -> None:
    """Nothing, only blanks, and a megabyte are no reason; nothing is written."""
    wait = wait_for(shop, 3)
    with pytest.raises(UseCaseError, match="wanted 1 to 2,000 characters"):
        approve(shop.loop, wait.id, by="ann", reason=words, act=carry_out)
    with pytest.raises(UseCaseError, match="wanted 1 to 200 characters"):
        reject(shop.loop, wait.id, by=words, reason=WHY, act=carry_out)
    assert waiting(shop.loop) == (wait,)


def test_only_what_waits_can_be_answered(shop: Place) -> None:
    """A decision that asks nobody, one of another use case, and one that does not exist are refused
    with those that wait."""
    wait = wait_for(shop, 3)
    for number in (1, 2):
        with pytest.raises(UseCaseError, match=f"those that wait: {wait.id}"):
            say_yes(shop.loop, number)
    foreign = parse_use_case({**CONTENT, "name": "other"}, shop.loop.use_case.path)
    with pytest.raises(UseCaseError, match="wanted a decision of other, got one of shop"):
        say_yes(replace(shop.loop, use_case=foreign), wait.id)
    for number in (0, -1, 10**6):
        with pytest.raises(StoreError, match="wanted the id of a decision"):
            say_yes(shop.loop, number)
