"""Carrying decisions out: whatever a crash leaves behind, the same command ends in the same state,
and nothing is moved twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.errors import StoreError
from closedloop.storage.details import PromotionDetails
from closedloop.storage.entry import Entry
from closedloop.turn.carry_out import carry_out
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.serving_note import note_serving
from tests.unit.turn.conftest import Place

pytestmark = pytest.mark.slow


def test_a_promotion_moves_production_and_is_noted_as_done(place: Place) -> None:
    """The first promotion has nothing to go back to, the second one keeps what it replaced; both
    entries are done."""
    place.add(2)
    assert carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first")).outcome == "done"
    assert place.state() == (1, None, ("production", "candidate"))
    assert carry_out(place.loop, place.decide(Action.PROMOTE, 2, "second")).outcome == "done"
    assert place.state() == (2, 1, ("archived", "production"))


def test_what_was_carried_out_before_is_left_alone(place: Place) -> None:
    """A finished promotion that is carried out again, after a rollback, moves nothing: not even
    MLflow is asked."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first"))
    second = carry_out(place.loop, place.decide(Action.PROMOTE, 2, "second"))
    roll_back_by_hand(place.loop, None)
    assert place.crash_in(lambda: carry_out(place.loop, second), after=0) is False
    assert place.state() == (1, None, ("production", "archived"))


@pytest.mark.parametrize(
    ("action", "version", "expected"),
    [
        (Action.REJECT, 3, (2, 1, ("archived", "production", "rejected"))),
        (Action.REJECT, 2, (2, 1, ("archived", "production", "candidate"))),
        (Action.KEEP, None, (2, 1, ("archived", "production", "candidate"))),
        (Action.ESCALATE, 3, (2, 1, ("archived", "production", "candidate"))),
        (Action.ROLLBACK, 1, (1, None, ("production", "archived", "candidate"))),
    ],
)
def test_every_action_does_its_own_thing_only(
    place: Place, action: Action, version: int | None, expected: tuple[Any, ...]
) -> None:
    """Rejecting tags a candidate but never what is live; keeping and escalating move nothing; each
    is noted as done."""
    place.add(3)
    for number in (1, 2):
        carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}"))
    assert carry_out(place.loop, place.decide(action, version)).outcome == "done"
    assert place.state() == expected


def test_a_retraining_is_not_carried_out_here(place: Place) -> None:
    """The retraining notes its own end: before it, the entry stays open."""
    assert carry_out(place.loop, place.decide(Action.RETRAIN, None)).outcome is None


def test_a_decision_about_another_production_is_superseded(place: Place) -> None:
    """When production is meanwhile neither the version decided about nor its successor, nothing
    moves and the entry says so."""
    place.add(3)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first"))
    entry = place.decide(Action.PROMOTE, 2)
    place.client.set_registered_model_alias("shop", "production", "3")
    before = place.state()
    carried = carry_out(place.loop, entry)
    assert (carried.outcome, str(carried.note)) == (
        "superseded",
        "production is meanwhile version 3, and this compared with version 1: "
        "closedloop train --window month_009 does again",
    )
    assert place.state() == before


def test_a_promotion_cut_short_and_taken_back_is_not_finished_later(place: Place) -> None:
    """A crash left version 2 live but not noted, a person went back to 1: the flow that runs again
    leaves 1 live."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first"))
    entry = place.decide(Action.PROMOTE, 2)
    calls = 0
    while place.loop.registry.production() != 2:
        place.crash_in(lambda: carry_out(place.loop, entry), after=(calls := calls + 1))
    roll_back_by_hand(place.loop, None)
    carried = carry_out(place.loop, place.loop.journal.entry(entry.id))
    assert carried.outcome == "superseded"
    assert "rollback" in str(carried.note)
    assert place.state() == (1, None, ("production", "archived"))


def by_flow(action: Action, version: int) -> Callable[[Place], Entry]:
    return lambda place: carry_out(
        place.loop, place.loop.journal.find("a key") or place.decide(action, version)
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (by_flow(Action.PROMOTE, 3), (3, 2, ("archived", "archived", "production"))),
        (by_flow(Action.ROLLBACK, 1), (1, None, ("production", "archived", "candidate"))),
        (by_flow(Action.REJECT, 3), (2, 1, ("archived", "production", "rejected"))),
        (
            lambda place: promote_by_hand(place.loop, 3),
            (3, 2, ("archived", "archived", "production")),
        ),
        (
            lambda place: roll_back_by_hand(place.loop, None),
            (1, None, ("production", "archived", "candidate")),
        ),
        (
            lambda place: roll_back_by_hand(place.loop, 1),
            (1, None, ("production", "archived", "candidate")),
        ),
    ],
    ids=[
        "promote",
        "rollback",
        "reject",
        "promote by hand",
        "roll back by hand",
        "roll back by hand to a version",
    ],
)
def test_a_command_repeated_after_a_crash_anywhere_finishes_it(
    make_place: Callable[[], Place], command: Callable[[Place], Entry], expected: tuple[Any, ...]
) -> None:
    """For every call to MLflow: after a crash just before it the same command ends in the same
    state, as one decision that is done."""
    after = 0
    while True:
        place = make_place()
        place.add(3)
        for number in (1, 2):
            carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}"))
        crashed = place.crash_in(lambda place=place: command(place), after)  # type: ignore[misc]
        if crashed:
            assert command(place).outcome == "done"
        assert place.state() == expected, f"after a crash before call {after + 1}"
        assert [entry.outcome for entry in place.loop.journal.history("shop")] == ["done"] * 3
        if not crashed:
            break
        after += 1
    assert after > 2


def test_serving_is_noted_once_per_start(place: Place) -> None:
    """The journal says from when on which service answered with which version; the same start is
    written once."""
    note = partial(note_serving, place.loop.journal, "shop", 1, window="month_0", where="host-a")
    first, again, later = note(started="09:00"), note(started="09:00"), note(started="10:00")
    assert first.id == again.id != later.id
    assert [entry.outcome for entry in place.loop.journal.history("shop")] == ["done", "done"]
    assert (first.decision.window, first.decision.version) == ("month_0", 1)


def test_a_decision_that_its_checks_do_not_lead_to_is_not_carried_out(place: Place) -> None:
    """A rejection that somebody made a promotion, and a rollback that nothing asked for: nothing
    moves, and no outcome is noted."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first"))
    before = place.state()
    missed = Check("candidate is better", Outcome.FAILS, Role.GATE, "above 0", "-0.02")
    guard = Check("rollback is enabled", Outcome.HOLDS, Role.GUARD, "enabled", "enabled")
    for kind, action, checks in (
        (Kind.PROMOTION, Action.PROMOTE, (missed,)),
        (Kind.PROMOTION, Action.PROMOTE, ()),
        (Kind.ROLLBACK, Action.ROLLBACK, (guard,)),
    ):
        decision = Decision(kind, action, "month_009", checks, 2)
        key = f"changed {len(place.loop.journal.history('shop'))}"
        entry = place.loop.journal.write(key, "shop", decision, details=PromotionDetails(1))
        with pytest.raises(StoreError, match=f"wanted checks that lead to {action.value}"):
            carry_out(place.loop, entry)
        assert place.loop.journal.entry(entry.id).outcome is None
    assert place.state() == before


def test_a_version_with_other_files_than_those_judged_is_not_promoted(place: Place) -> None:
    """Its number is the same; the decision is superseded and says why."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first"))
    entry = place.decide(Action.PROMOTE, 2, "second")
    place.client.set_model_version_tag("shop", "2", "closedloop.sha256", "others")
    settled = carry_out(place.loop, entry)
    assert settled.outcome == "superseded"
    assert "version 2 no longer has the files that were judged" in str(settled.note)
    assert place.loop.registry.production() == 1
