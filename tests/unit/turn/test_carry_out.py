"""Carrying decisions out: whatever a crash leaves behind, the same command ends in the same state,
and nothing is moved twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.errors import RegistryError
from closedloop.registry.registry import Registry
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Entry, Journal
from closedloop.turn.carry_out import carry_out, promote_by_hand, roll_back_by_hand
from closedloop.turn.open import Loop
from closedloop.turn.serving_note import note_serving
from closedloop.use_case.loop_toml import parse_use_case
from tests.mlflow_in_memory import CrashingClient, MemoryClient

CONTENT = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "columns": {"spend": {"type": "numeric"}},
    "source": {"query": "select 1", "windows": "*.csv"},
}
BETTER = (Check("candidate is better", Outcome.HOLDS, Role.GATE, "above 0", "+0.02"),)


@dataclass
class Place:
    """A loop with a real journal and a real registry over an MLflow in memory."""

    loop: Loop
    client: MemoryClient

    def state(self) -> tuple[Any, ...]:
        """All that the registry says: what is live, what was before, and every status."""
        registry = self.loop.registry
        return (
            registry.production(),
            registry.previous(),
            tuple(one.status for one in registry.versions()),
        )

    def add(self, count: int) -> None:
        for number in range(count):
            self.loop.registry.register(
                f"key-{number}", f"run-{number}", {"window": f"month_{number}"}
            )

    def decide(
        self, action: Action, version: int | None, key: str = "a key", **details: Any
    ) -> Entry:
        decision = Decision(
            Kind.ROLLBACK if action is Action.ROLLBACK else Kind.PROMOTION,
            action,
            "month_009",
            BETTER,
            version,
        )
        return self.loop.journal.write(
            key,
            "shop",
            decision,
            details={"production": self.loop.registry.production(), **details},
        )

    def crash_in(self, work: Callable[[], object], after: int) -> bool:
        """Do the work with an MLflow that is gone after some calls; did it crash?"""
        self.loop.registry._client_made = CrashingClient(self.client, after)
        try:
            work()
        except RegistryError:
            return True
        finally:
            self.loop.registry._client_made = self.client
        return False


@pytest.fixture
def make_place(tmp_path: Path) -> Callable[[], Place]:
    numbers = iter(range(1000))

    def make() -> Place:
        engine = open_engine(f"sqlite:///{tmp_path / str(next(numbers)) / 'loop.db'}")
        registry = Registry("shop", "memory", artifacts=tmp_path, downloads=tmp_path)
        registry._client_made = client = MemoryClient()
        nothing: Any = None
        use_case = parse_use_case(CONTENT, tmp_path / "loop.toml")
        return Place(
            Loop(
                use_case,
                Settings(home=tmp_path),
                nothing,
                nothing,
                Journal(engine),
                registry,
                engine,
            ),
            client,
        )

    return make


@pytest.fixture
def place(make_place: Callable[[], Place]) -> Place:
    return make_place()


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
    assert (carried.outcome, carried.outcome_detail) == (
        "superseded",
        "production is meanwhile version 3",
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
    assert "rollback" in carried.outcome_detail
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
        assert [one.outcome for one in place.loop.journal.history("shop")] == ["done"] * 3
        if not crashed:
            break
        after += 1
    assert after > 2


class DyingJournal(Journal):
    """A journal whose process ends when it is told what came of a decision."""

    def carried_out(self, entry: Entry, outcome: str = "done", detail: str = "") -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "command", [lambda loop: promote_by_hand(loop, 3), lambda loop: roll_back_by_hand(loop, None)]
)
def test_a_command_cut_off_when_all_was_moved_is_noted_by_the_next(
    place: Place, command: Callable[[Loop], Entry]
) -> None:
    """Everything moved but nothing noted: the same command finds its own decision, moves nothing
    more and notes it."""
    place.add(3)
    for number in (1, 2):
        carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}"))
    with pytest.raises(KeyboardInterrupt):
        command(replace(place.loop, journal=DyingJournal(place.loop.engine)))
    moved = place.state()
    assert command(place.loop).outcome == "done"
    assert place.state() == moved
    assert len(place.loop.journal.history("shop")) == 3


def test_promoting_what_is_not_there_or_live_is_refused(place: Place) -> None:
    """Both refusals name what was asked for; nothing is written and nothing moves."""
    place.add(1)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1))
    before = place.state()
    with pytest.raises(RegistryError, match=r"wanted version 7, got versions 1"):
        promote_by_hand(place.loop, 7)
    with pytest.raises(RegistryError, match=r"version 1, which is production"):
        promote_by_hand(place.loop, 1)
    assert place.state() == before
    assert len(place.loop.journal.history("shop")) == 1


def test_promoting_the_live_version_does_not_finish_another_command(place: Place) -> None:
    """A promotion of 2 that crashed before it moved anything is not carried out by asking for 1,
    which is live."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1))
    after = 0
    while len(place.loop.journal.history("shop")) == 1:
        assert place.crash_in(lambda: promote_by_hand(place.loop, 2), after)
        after += 1
    assert place.loop.journal.history("shop")[-1].outcome is None
    with pytest.raises(RegistryError, match="which is production"):
        promote_by_hand(place.loop, 1)
    assert place.loop.registry.production() == 1


def test_going_back_needs_somewhere_to_go(place: Place) -> None:
    """Without production, without previous, to what is live or to what is not there: refused, each
    with its reason."""
    with pytest.raises(RegistryError, match="no production"):
        roll_back_by_hand(place.loop, None)
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1))
    for to, reason in (
        (None, "no previous version"),
        (1, "version 1, which is production"),
        (9, "got versions 1, 2"),
    ):
        with pytest.raises(RegistryError, match=reason):
            roll_back_by_hand(place.loop, to)
    assert place.state() == (1, None, ("production", "candidate"))


def test_the_same_wish_again_is_a_new_decision(place: Place) -> None:
    """Promoting, going back and promoting the same version once more are three decisions, each
    carried out."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1))
    wishes = [
        promote_by_hand(place.loop, 2),
        roll_back_by_hand(place.loop, None),
        promote_by_hand(place.loop, 2),
    ]
    assert len({one.id for one in wishes}) == 3
    assert all(one.outcome == "done" for one in wishes)
    assert place.state() == (2, 1, ("archived", "production"))


def test_what_a_person_asks_for_waits_for_the_turn_that_runs(place: Place) -> None:
    """While a turn of the loop holds the lock, a promotion by hand changes nothing; it is carried
    out afterwards."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1))
    thread = Thread(target=promote_by_hand, args=(place.loop, 2))
    with place.loop.lock():
        thread.start()
        thread.join(0.1)
        assert place.loop.registry.production() == 1
    thread.join(30)
    assert place.loop.registry.production() == 2


def test_serving_is_noted_once_per_start(place: Place) -> None:
    """The journal says from when on which service answered with which version; the same start is
    written once."""
    note = partial(note_serving, place.loop.journal, "shop", 1, window="month_0", where="host-a")
    first, again, later = note(started="09:00"), note(started="09:00"), note(started="10:00")
    assert first.id == again.id != later.id
    assert [one.outcome for one in place.loop.journal.history("shop")] == ["done", "done"]
    assert (first.decision.window, first.decision.version) == ("month_0", 1)
