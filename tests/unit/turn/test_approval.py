"""A candidate that waits: who may answer it, what refuses an answer, and what the loop closes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from closedloop.decisions.checks import Action
from closedloop.errors import AnswerRefused
from closedloop.operations.prune import choose_versions
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.answers import answer_key, settle_answers
from closedloop.turn.approval import approve, read_waits, reject, tell_answer, waiting
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.quarantine_by_hand import decide_by_hand
from tests.unit.turn.asked_shop import WHY, WINDOWS, prepare, say_no, say_yes, wait_for
from tests.unit.turn.conftest import NamedWindows, Place

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Versions 1 and 2 were promoted, 3 and 4 are candidates; the rows are as they were."""
    monkeypatch.setattr("closedloop.turn.approval.find_changed_rows", lambda *_: "")
    return prepare(place)


def outcomes(place: Place) -> list[tuple[str, str | None]]:
    entries = place.loop.journal.history("shop")[2:]
    return [(entry.decision.action.value, entry.outcome) for entry in entries]


def test_production_keeps_serving_while_a_candidate_waits(shop: Place) -> None:
    """The decision stays open, moves nothing however often it is carried out, and its version keeps
    its files."""
    wait = wait_for(shop, 3)
    before = shop.state()
    assert carry_out(shop.loop, wait).outcome is None
    assert not settle_answers(History(shop.loop))
    assert (shop.state(), waiting(shop.loop)) == (before, (wait,))


def test_the_files_of_what_waits_are_not_pruned(shop: Place) -> None:
    """Not even if somebody tagged it as rejected meanwhile."""
    wait = wait_for(shop, 3)
    shop.loop.registry.reject(3, reason="by hand")
    promote_by_hand(shop.loop, 4)
    facts = [
        replace(found, run_id=f"run-{found.version}") for found in shop.loop.registry.versions()
    ]
    awaited = {entry.decision.version for entry in waiting(shop.loop)}
    assert awaited == {wait.decision.version}
    assert 3 not in choose_versions(facts, 0, {version for version in awaited if version})
    assert 3 in choose_versions(facts, 0)


def test_what_is_approved_becomes_production(shop: Place) -> None:
    """Who and why are in the journal and in the reason; nothing waits any more; the way back leads
    to what was replaced."""
    wait = wait_for(shop, 3)
    answer = say_yes(shop.loop, wait.id)
    assert (answer.decision.action, answer.cause, answer.origin, answer.outcome) == (
        Action.PROMOTE,
        wait.id,
        Origin.PERSON,
        "done",
    )
    assert (answer.by, answer.why, answer.key) == ("ann@shop", WHY, f"shop/approval/{wait.id}")
    assert answer.decision.reason == (
        f"requested by a person: approve version 3 of decision {wait.id}, by ann@shop: {WHY}"
    )
    assert answer.as_json()["details"]["by"] == "ann@shop"
    assert shop.state()[:2] == (3, 2)
    assert (waiting(shop.loop), shop.loop.journal.entry(wait.id).outcome) == ((), "done")
    assert shop.loop.tell_moved() == ()


def test_what_is_rejected_never_serves(shop: Place) -> None:
    """Production stays, the version is tagged, and the decision is answered."""
    wait = wait_for(shop, 3)
    answer = say_no(shop.loop, wait.id)
    assert (answer.decision.action, answer.outcome) == (Action.REJECT, "done")
    assert shop.state() == (2, 1, ("archived", "production", "rejected", "candidate"))
    assert waiting(shop.loop) == ()


def test_answering_twice_is_harmless_and_says_whose_answer_counts(shop: Place) -> None:
    """The second person finds the first one's answer; whoever says the opposite is told who
    decided, when and why; nothing is written twice."""
    wait = wait_for(shop, 3)
    first = say_yes(shop.loop, wait.id)
    second = approve(shop.loop, wait.id, by="bob@shop", reason="me too", act=carry_out)
    assert second == first
    with pytest.raises(AnswerRefused) as refused:
        reject(shop.loop, wait.id, by="bob@shop", reason="no", act=carry_out)
    for told in ("approved by ann@shop", f"{first.at:%Y-%m-%d %H:%M} UTC", WHY):
        assert told in refused.value.got
    assert refused.value.got == tell_answer(first)
    assert outcomes(shop) == [("wait", "done"), ("promote", "done")]


def test_probation_begins_when_a_person_approves(shop: Place) -> None:
    """A promotion counts from the newest window that was looked at, not from the one where it
    began to wait."""
    wait = wait_for(shop, 3, "month_007")
    shop.loop.journal.carried_out(shop.decide(Action.REJECT, 4, "later", "month_008"))
    answer = say_yes(shop.loop, wait.id)
    assert answer.decision.window == "month_008"
    assert History(shop.loop).state().promoted_at == 1


MOVED_ON: list[Any] = [
    pytest.param(
        lambda shop: promote_by_hand(shop.loop, 4), "moved production since", id="promoted"
    ),
    pytest.param(lambda shop: roll_back_by_hand(shop.loop), "moved production since", id="back"),
    pytest.param(
        lambda shop: shop.client.set_registered_model_alias("shop", "production", "4"),
        "production is meanwhile version 4, and it was compared with version 2",
        id="moved outside",
    ),
    pytest.param(lambda shop: wait_for(shop, 4), "proposed version 4 since", id="newer candidate"),
    pytest.param(
        lambda shop: decide_by_hand(shop.loop, Action.QUARANTINE, "month_008"),
        "month_008 was taken out of training by decision",
        id="kept out",
    ),
    pytest.param(
        lambda shop: setattr(
            shop, "loop", replace(shop.loop, source=NamedWindows((*WINDOWS, "m10", "m11", "m12")))
        ),
        "it has expired: m12 is window 3 after month_009, and a candidate waits for 2",
        id="expired",
    ),
]


@pytest.mark.parametrize(("happens", "told"), MOVED_ON)
def test_what_has_moved_on_cannot_be_approved(
    shop: Place, happens: Callable[[Place], object], told: str
) -> None:
    """The refusal says why, and status says it before anybody tries; nothing is written; a person
    may still reject."""
    wait = wait_for(shop, 3)
    happens(shop)
    before, state = len(shop.loop.journal.history("shop")), shop.state()
    with pytest.raises(AnswerRefused, match=told):
        say_yes(shop.loop, wait.id)
    assert (len(shop.loop.journal.history("shop")), shop.state()) == (before, state)
    shown = next(facts for facts in read_waits(shop.loop) if facts["decision"] == wait.id)
    assert told in shown["obstacle"]
    assert "it can only be rejected now" in shown["told"]
    assert say_no(shop.loop, wait.id).outcome == "done"
    assert shop.state()[:2] == state[:2]


@pytest.mark.parametrize(("happens", "told"), MOVED_ON)
def test_the_next_turn_closes_what_has_moved_on(
    shop: Place, happens: Callable[[Place], object], told: str
) -> None:
    """The loop rejects it, in its own name and with the reason; a person comes too late and is
    told; the same rows may be trained on once more."""
    wait = wait_for(shop, 3)
    happens(shop)
    assert settle_answers(History(shop.loop))
    answer = shop.loop.journal.find(answer_key(wait))
    assert answer is not None
    assert (answer.decision.action, answer.origin, answer.by) == (Action.REJECT, Origin.LOOP, None)
    assert told in answer.decision.reason
    closed = shop.loop.journal.entry(wait.id)
    assert (closed.outcome, told in str(closed.note)) == ("superseded", True)
    with pytest.raises(AnswerRefused, match="rejected by the loop"):
        say_yes(shop.loop, wait.id)
    assert not settle_answers(History(shop.loop))


def test_a_candidate_that_waits_as_long_as_it_may_can_be_approved(shop: Place) -> None:
    """The last window in which it counts is the one that the policy names."""
    wait = wait_for(shop, 3)
    shop.loop = replace(shop.loop, source=NamedWindows((*WINDOWS, "month_010", "month_011")))
    assert [facts["windows_left"] for facts in read_waits(shop.loop)] == [0]
    assert not settle_answers(History(shop.loop))
    assert say_yes(shop.loop, wait.id).outcome == "done"


def test_a_version_that_a_person_made_live_waits_no_more(shop: Place) -> None:
    """Promoted by hand while it waits, it is neither rejected nor promoted again."""
    wait = wait_for(shop, 3)
    by_hand = promote_by_hand(shop.loop, 3, by="ann@shop", reason="no time")
    with pytest.raises(AnswerRefused, match="version 3 is live"):
        say_no(shop.loop, wait.id)
    assert settle_answers(History(shop.loop))
    closed = shop.loop.journal.entry(wait.id)
    assert (closed.outcome, closed.note.superseded_by) == ("superseded", by_hand.id)
    assert shop.state()[0] == 3
    with pytest.raises(AnswerRefused, match="was carried out meanwhile"):
        say_yes(shop.loop, wait.id)


def test_files_that_were_changed_are_not_approved(shop: Place, monkeypatch: Any) -> None:
    """Other files under the same number are not what was judged."""
    wait = wait_for(shop, 3)
    details = replace(wait.details, bundle="f" * 64)
    monkeypatch.setattr(
        "closedloop.turn.approval._find_waiting", lambda *_: replace(wait, details=details)
    )
    monkeypatch.setattr("closedloop.turn.answers.find_digest", lambda *_: "0" * 64)
    with pytest.raises(AnswerRefused, match="no longer has the files that were judged"):
        say_yes(shop.loop, wait.id)


@pytest.mark.parametrize("answer", [say_yes, say_no], ids=["approve", "reject"])
def test_a_crash_anywhere_in_an_answer_is_mended_by_the_next_turn(
    make_place: Callable[[], Place], monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Entry]
) -> None:
    """Whichever call to MLflow is the last one that works: the next turn, or the same answer again,
    ends in the state without a crash."""
    monkeypatch.setattr("closedloop.turn.approval.find_changed_rows", lambda *_: "")
    whole = prepare(make_place())
    answer(whole.loop, wait_for(whole, 3).id)
    for again in (False, True):
        for calls in range(40):
            place = prepare(make_place())
            wait = wait_for(place, 3)
            crashed = place.crash_in(partial(answer, place.loop, wait.id), after=calls)
            if again or place.loop.journal.find(answer_key(wait)) is None:
                answer(place.loop, wait.id)
            else:
                settle_answers(History(place.loop))
            assert (place.state(), outcomes(place)) == (whole.state(), outcomes(whole)), calls
            assert place.loop.tell_moved() == ()
            if not crashed:
                break
        else:
            pytest.fail("every answer crashed")


def test_a_person_who_moves_production_is_named(shop: Place) -> None:
    """A promotion and a rollback by hand say who and why; without them they read as before."""
    moved = promote_by_hand(shop.loop, 3, by="ann@shop", reason="tried outside")
    assert (moved.by, moved.why) == ("ann@shop", "tried outside")
    assert moved.decision.reason.endswith(
        "version 3, which no decision is about, by ann@shop: tried outside"
    )
    back = roll_back_by_hand(shop.loop, by="bob@shop", reason="it was slow")
    assert isinstance(back.details, TurnDetails)
    assert (back.by, back.why) == ("bob@shop", "it was slow")
    assert promote_by_hand(shop.loop, 4).decision.reason.endswith("which no decision is about")
