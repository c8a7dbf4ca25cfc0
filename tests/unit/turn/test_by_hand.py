"""Promotions and rollbacks that a person asks for: finished after a crash, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Thread

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import RegistryError
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.open import Loop
from closedloop.turn.serving_note import note_serving
from tests.unit.turn.conftest import NamedWindows, Place


class DyingJournal(Journal):
    """A journal whose process ends when it is told what came of a decision."""

    def carried_out(self, entry: Entry) -> None:
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
    assert len({wish.id for wish in wishes}) == 3
    assert all(wish.outcome == "done" for wish in wishes)
    assert place.state() == (2, 1, ("archived", "production"))


def test_what_a_person_asks_for_waits_for_the_turn_that_runs(place: Place) -> None:
    """While a turn of the loop holds the lock, a promotion by hand changes nothing; it is carried
    out afterwards."""
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1))
    thread = Thread(target=promote_by_hand, args=(place.loop, 2))
    with place.loop.lock("test"):
        thread.start()
        thread.join(0.1)
        assert place.loop.registry.production() == 1
    thread.join(30)
    assert place.loop.registry.production() == 2


MONTHS = tuple(f"month_{number:03}" for number in range(12))
BY_TIME = ("11/2025", "12/2025", "01/2026", "02/2026")


def look_at(place: Place, window: str, kind: Kind = Kind.RETRAINING) -> None:
    """As a turn does, for which only the window matters here."""
    key = f"look {len(place.loop.journal.history('shop'))}"
    decision = Decision(kind, Action.KEEP, window, ())
    place.loop.journal.write(key, "shop", decision, details=TurnDetails())


@pytest.mark.parametrize(
    ("names", "seen", "filed"),
    [
        pytest.param(MONTHS, MONTHS[4:8], "month_007", id="the last look"),
        pytest.param(MONTHS, (MONTHS[7], MONTHS[2]), "month_007", id="an old window was looked at"),
        pytest.param(BY_TIME, BY_TIME[1:3], "01/2026", id="in the order of the source"),
        pytest.param(MONTHS, (), "month_011", id="nothing was looked at"),
        pytest.param((), (), "-", id="nothing to look at"),
        pytest.param((), MONTHS[1:4], "month_003", id="the source is away"),
        pytest.param(MONTHS, ("deleted", MONTHS[2], "deleted"), "month_002", id="a window is gone"),
        pytest.param(
            ("week_1", "week_2"),
            ("records_2026-11-20", "records_2026-11-19", "week_2"),
            "records_2026-11-20",
            id="records follow other windows",
        ),
    ],
)
@pytest.mark.parametrize(
    "command", [lambda loop: promote_by_hand(loop, 2), lambda loop: roll_back_by_hand(loop, 2)]
)
def test_a_promotion_by_hand_while_a_service_runs_is_filed_under_the_newest_window(
    place: Place,
    command: Callable[[Loop], Entry],
    names: tuple[str, ...],
    seen: tuple[str, ...],
    filed: str,
) -> None:
    """What a person decides belongs to the newest window that was looked at, also when the last
    entry is the note of a service about the window of its version."""
    place.loop = replace(place.loop, source=NamedWindows(names))
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, window="-"))
    for window in seen:
        look_at(place, window)
    note_serving(place.loop.journal, "shop", 1, window=MONTHS[0], where="host-a", started="now")
    assert command(place.loop).decision.window == filed


@pytest.mark.parametrize("seen", [True, False])
def test_the_probation_of_a_promotion_by_hand_begins_with_the_next_window(
    place: Place, seen: bool
) -> None:
    """The window after the promotion is the first of the probation, whether a turn had looked at
    the one before or the loop begins with the promotion."""
    place.loop = replace(place.loop, source=NamedWindows(MONTHS[:8]))
    place.add(2)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, window="-"))
    if seen:
        look_at(place, MONTHS[7])
        look_at(place, MONTHS[5], Kind.QUARANTINE)
    note_serving(place.loop.journal, "shop", 1, window=MONTHS[0], where="host-a", started="now")
    promote_by_hand(place.loop, 2)
    history = History(replace(place.loop, source=NamedWindows(MONTHS[:9])), MONTHS[8])
    assert history.index - (history.state().promoted_at or 0) == 1
