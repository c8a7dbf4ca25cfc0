"""A person ends the watch after a promotion, and what is told about what is watched."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import UseCaseError
from closedloop.storage.entry import Entry
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.turn.probation_end import end_probation
from closedloop.turn.probation_standing import describe_probation, read_probation, tell_probation
from tests.unit.turn.conftest import NamedWindows, Place

MONTHS = tuple(f"month_{number:03}" for number in range(12))


@pytest.fixture
def watched(place: Place) -> Place:
    """Version 2 has replaced version 1 in the window before the newest."""
    place.loop = replace(place.loop, source=NamedWindows(MONTHS[:9]))
    place.add(3)
    carry_out(place.loop, place.decide(Action.PROMOTE, 1, "first", window=MONTHS[5]))
    carry_out(place.loop, place.decide(Action.PROMOTE, 2, "second", window=MONTHS[7]))
    return place


def end(place: Place, by: str = "ada@desk", reason: str = "the old one is known to fail") -> Entry:
    return end_probation(place.loop, by=by, reason=reason)


def promoted_at(place: Place) -> int | None:
    return History(place.loop, MONTHS[8]).state().promoted_at


def test_who_ended_it_and_why_is_written_down_and_nothing_is_watched_any_more(
    watched: Place,
) -> None:
    """Production stays, `previous` stays for a rollback by hand, and the next turn finds nothing on
    probation."""
    assert promoted_at(watched) == 7
    before = watched.state()
    entry = end(watched)
    assert (entry.decision.kind, entry.decision.action, entry.outcome) == (
        Kind.ROLLBACK,
        Action.KEEP,
        "done",
    )
    assert (entry.by, entry.why) == ("ada@desk", "the old one is known to fail")
    assert "end the probation of version 2: the old one is known to fail" in entry.decision.reason
    assert watched.state() == before
    assert promoted_at(watched) is None
    found = read_probation(watched.loop)
    assert found is not None
    assert not found.watched
    assert "ada@desk ended its probation" in tell_probation(found)[0]


def test_the_second_to_end_it_is_told_who_was_first(watched: Place) -> None:
    """Two people at once: one entry, and the other reads its name and reason."""
    told: list[str] = []

    def try_to_end(by: str) -> None:
        try:
            end(watched, by=by)
        except UseCaseError as error:
            told.append(str(error))

    threads = [Thread(target=try_to_end, args=(by,)) for by in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 1
    assert "whose probation ada ended" in told[0] or "whose probation bob ended" in told[0]
    history = watched.loop.journal.history("shop")
    assert sum(entry.decision.kind is Kind.ROLLBACK for entry in history) == 1


def test_a_rollback_that_was_decided_and_not_carried_out_is_superseded(watched: Place) -> None:
    """The person has the last word: what a crash left open is not carried out after it."""
    back = watched.decide(Action.ROLLBACK, 1, "back", window=MONTHS[8])
    entry = end(watched)
    back = watched.loop.journal.entry(back.id)
    assert back.outcome == "superseded"
    assert f"decision {entry.id}" in str(back.note)
    assert carry_out(watched.loop, back).outcome == "superseded"
    assert watched.loop.registry.production() == 2


def test_an_end_that_was_cut_off_is_finished_by_the_same_command(
    watched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written down and not noted: asked again, it is one entry, done."""

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watched.loop.journal, "carried_out", crash)
    with pytest.raises(KeyboardInterrupt):
        end(watched)
    monkeypatch.undo()
    assert promoted_at(watched) == 7
    entry = end(watched)
    assert entry.outcome == "done"
    assert promoted_at(watched) is None
    kinds = [each.decision.kind for each in watched.loop.journal.history("shop")]
    assert kinds.count(Kind.ROLLBACK) == 1


@pytest.mark.parametrize("case", ["first model", "long ago", "rolled back", "switched off"])
def test_without_a_probation_there_is_nothing_to_end(watched: Place, case: str) -> None:
    """Each refusal says what is there instead, and nothing is written."""
    loop = watched.loop
    if case == "long ago":
        watched.loop = replace(loop, source=NamedWindows(MONTHS))
    elif case == "switched off":
        policy = loop.use_case.policy
        off = replace(policy, rollback=replace(policy.rollback, enabled=False))
        watched.loop = replace(loop, use_case=replace(loop.use_case, policy=off))
    elif case in ("rolled back", "first model"):
        carry_out(loop, watched.decide(Action.ROLLBACK, 1, "back", window=MONTHS[8]))
    before = watched.loop.journal.history("shop")
    with pytest.raises(UseCaseError, match="a version on probation"):
        end(watched)
    assert watched.loop.journal.history("shop") == before


@pytest.mark.parametrize("reason", ["", " \n\t", "x" * 2001])
def test_a_reason_that_says_nothing_is_refused(watched: Place, reason: str) -> None:
    """Empty, blank or a novel: nothing is written."""
    with pytest.raises(UseCaseError, match="reason"):
        end(watched, reason=reason)


def test_control_characters_of_a_reason_do_not_reach_the_journal(watched: Place) -> None:
    """What would move a cursor or forge a line is written as text."""
    entry = end(watched, by="a\x1b[2Jda", reason="fine\n\x1b[31mreally")
    assert "\x1b" not in f"{entry.by}{entry.why}{entry.decision.reason}"
    assert "\n" not in (entry.why or "")


def test_a_later_promotion_is_watched_again(watched: Place) -> None:
    """The end is about one version's probation, not about the next one's."""
    end(watched)
    promote_by_hand(watched.loop, 3)
    assert promoted_at(watched) == 7
    found = read_probation(watched.loop)
    assert found is not None
    assert found.watched
    assert found.version == 3


def test_status_tells_since_when_until_when_and_what_was_seen(watched: Place) -> None:
    """Windows that have passed, windows that are left, and the reason of each look."""
    kept = watched.decide(Action.KEEP, 2, "look", window=MONTHS[8])
    # As a turn writes it: about the version that stays.
    del kept
    found = read_probation(watched.loop)
    assert found is not None
    assert (found.version, found.previous, found.passed, found.windows) == (2, 1, 1, 2)
    described = describe_probation(found)
    assert described is not None
    assert described["since_window"] == MONTHS[7]
    assert described["watched"] is True
    assert "1 more window;" in described["told"][0]
    watched.loop = replace(watched.loop, source=NamedWindows(MONTHS[:10]))
    assert "this window is the last" in tell_probation(read_probation(watched.loop) or found)[0]
