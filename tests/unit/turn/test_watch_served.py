"""Calls that fail take a promotion back without waiting for a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest

from closedloop.decisions.checks import Action
from closedloop.records.call_counts import ServedCounts, next_minute
from closedloop.records.store import Records
from closedloop.turn.carry_out import carry_out
from closedloop.turn.probation_end import end_probation
from closedloop.turn.watch_served import watch_served
from tests.unit.turn.conftest import NamedWindows, Place

MONTHS = tuple(f"month_{number:03}" for number in range(8))


@pytest.fixture
def watched(place: Place) -> Place:
    """Version 2 has replaced version 1 in the newest window."""
    records = Records(place.loop.engine)
    place.loop = replace(place.loop, source=NamedWindows(MONTHS), records=records)
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first", window=MONTHS[5]))
    carry_out(place.loop, place.decide(Action.PROMOTE, 2, "second", window=MONTHS[7]))
    return place


def serve(place: Place, version: int, calls: int, *, failed: int = 0, ms: float = 2.0) -> None:
    """Calls of a version: the first in the hour before its rival's promotion, 2 after it."""
    promoted = place.loop.journal.history("shop")[-1].at
    after = next_minute(promoted) if version == 2 else promoted - timedelta(minutes=30)
    counts = ServedCounts()
    for number in range(calls):
        bad = number < failed
        counts.count(version, after.timestamp(), None if bad else ms / 1000, failed=bad)
    place.loop.records.add_served("shop", counts.take(inf))


def test_calls_that_fail_take_it_back_at_once(watched: Place) -> None:
    """In the window of its own promotion, with no labels and no new window: 60 of 300 calls fail,
    of the version before none."""
    serve(watched, 1, 500)
    serve(watched, 2, 300, failed=60)
    entry = watch_served(watched.loop)
    assert entry is not None
    assert (entry.decision.action, entry.decision.version, entry.outcome) == (
        Action.ROLLBACK,
        1,
        "done",
    )
    assert "60 of 300 calls, version 1 0 of 500" in entry.decision.reason
    assert watched.state() == (1, None, ("production", "archived"))
    assert watch_served(watched.loop) is None


def test_far_slower_calls_take_it_back(watched: Place) -> None:
    """A median of 150 ms where it was 2."""
    serve(watched, 1, 500)
    serve(watched, 2, 300, ms=150)
    entry = watch_served(watched.loop)
    assert entry is not None
    assert "answers far slower than version 1" in entry.decision.reason


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param({}, {"calls": 300}, id="all is well"),
        pytest.param({"failed": 100}, {"calls": 300, "failed": 60}, id="it failed before, too"),
        pytest.param({}, {"calls": 150, "failed": 150}, id="too few calls"),
        pytest.param(None, {"calls": 300, "failed": 300}, id="nothing is known of the one before"),
    ],
)
def test_without_a_clear_sign_nothing_is_written(
    watched: Place, before: dict[str, int] | None, now: dict[str, int]
) -> None:
    """It is asked every minute, so what is kept leaves no entry."""
    if before is not None:
        serve(watched, 1, 500, **before)
    serve(watched, 2, **now)
    entries = watched.loop.journal.history("shop")
    assert watch_served(watched.loop) is None
    assert watched.loop.journal.history("shop") == entries
    assert watched.loop.registry.production() == 2


def test_once_a_person_ended_the_probation_calls_take_nothing_back(watched: Place) -> None:
    """The word of a person holds for every signal."""
    serve(watched, 1, 500)
    serve(watched, 2, 300, failed=300)
    end_probation(watched.loop, by="ada", reason="the client sends nonsense")
    assert watch_served(watched.loop) is None
    assert watched.loop.registry.production() == 2


@pytest.mark.slow
def test_killed_between_decision_and_move_it_is_finished(make_place: Callable[[], Place]) -> None:
    """Wherever the registry goes away, the next look leaves version 1 live, one decision, done."""
    for after in range(60):
        place = make_place()
        records = Records(place.loop.engine)
        place.loop = replace(place.loop, source=NamedWindows(MONTHS), records=records)
        place.add(2)
        carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first", window=MONTHS[5]))
        carry_out(place.loop, place.decide(Action.PROMOTE, 2, "second", window=MONTHS[7]))
        serve(place, 1, 500)
        serve(place, 2, 300, failed=300)
        crashed = place.crash_in(lambda place=place: watch_served(place.loop), after)  # type: ignore[misc]
        watch_served(place.loop)
        back = [
            entry
            for entry in place.loop.journal.history("shop")
            if entry.decision.action is Action.ROLLBACK
        ]
        assert [entry.outcome for entry in back] == ["done"], after
        assert place.state()[0] == 1, after
        if not crashed:
            return
    pytest.fail("it never came through")
