"""A policy that asks a person: a replay approves at once, a live turn waits and then finishes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from closedloop.backtest.figures import measure_policies, tell_asked
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import Past, ReplayParts, fit_first, replay
from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.storage.details import PromotionDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.answers import write_answer
from closedloop.turn.history import History
from closedloop.turn.take_turn import take_turn
from tests.unit.streams import make_frames, make_past
from tests.unit.turn.conftest import BETTER

pytestmark = pytest.mark.slow


def test_a_replay_approves_at_once_and_counts_how_often_it_was_asked(tmp_path: Path) -> None:
    """Asked about every promotion, it lives the same history as without a person; the figures say
    how often one would have been asked."""
    past = make_past(tmp_path, make_frames(8), delay=1)
    first, policy = fit_first(past), past.use_case.policy
    always = replace(policy, promotion=replace(policy.promotion, approval="always"))
    free = replay(past, Brain("free"), first)
    asked = replay(past, Brain("asked", always), first)
    promoted = [lived for lived in free if "promote" in lived.actions]
    assert promoted
    assert [lived.production for lived in asked] == [lived.production for lived in free]
    assert [lived.next_auc for lived in asked] == [lived.next_auc for lived in free]
    assert {lived.actions for lived in asked if "wait" in lived.actions} == {
        ("retrain", "wait", "promote")
    }
    replays = {"static": free, "always": free, "free": free, "asked": asked}
    figures = measure_policies(replays, ["static", "always"])
    assert [found.asked for found in figures] == [0, 0, 0, len(promoted)]
    assert tell_asked(figures) == (
        f"a person would have been asked {len(promoted)} times under asked: a replay approves at "
        "once"
    )
    assert tell_asked(figures[:3]) == ""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ReplayParts]:
    """Version 1, trained through w2, is production; version 2 is a candidate; w4 is the newest."""
    past: Past = make_past(tmp_path, make_frames(5, 9), delay=0, first=3)
    registry, first = MemoryRegistry("shop"), fit_first(past)
    registry.promote(registry.add(first, "w2"), instead_of=None, reason="installed")
    registry.add(first, "w3")
    engine = open_engine("sqlite://")
    yield ReplayParts(past.use_case, past.as_of("w4"), Journal(engine), registry, past.compute)
    engine.dispose()


def ask(parts: ReplayParts, window: str = "w3") -> Entry:
    asked = (*BETTER, request_check("the policy asks"))
    decision = Decision(Kind.PROMOTION, Action.WAIT, window, asked, 2)
    return parts.journal.write("shop/w3/promotion", "shop", decision, details=PromotionDetails(1))


def test_a_turn_trains_no_other_candidate_while_one_waits(parts: ReplayParts) -> None:
    """The turn says for which decision it waits; what waits stays open and production where it
    is."""
    wait = ask(parts)
    entry = take_turn(History[Any](parts, "w4"))
    (check,) = [
        check for check in entry.decision.checks if check.claim == "no candidate waits for a person"
    ]
    assert (entry.decision.action, check.got) == (
        Action.KEEP,
        f"decision {wait.id} waits for a person",
    )
    assert (parts.journal.entry(wait.id).outcome, parts.registry.production()) == (None, 1)


def test_a_turn_first_finishes_an_answer_that_was_cut_off(parts: ReplayParts) -> None:
    """It observes what is live then: the version that a person approved."""
    wait = ask(parts)
    answer = write_answer(parts, wait, Action.PROMOTE, window="w3", by="ann", why="fine")
    entry = take_turn(History[Any](parts, "w4"))
    assert parts.journal.entry(answer.id).outcome == "done"
    assert parts.journal.entry(wait.id).outcome == "done"
    assert (parts.registry.production(), entry.production) == (2, 2)


def test_a_turn_closes_what_has_expired_and_goes_on(parts: ReplayParts) -> None:
    """Two windows came where one was allowed: the loop rejects it, and is free to train."""
    rules = parts.use_case.policy.promotion
    policy = replace(parts.use_case.policy, promotion=replace(rules, approval_windows=1))
    parts = replace(parts, use_case=replace(parts.use_case, policy=policy))
    wait = ask(parts, "w2")
    entry = take_turn(History[Any](parts, "w4"))
    assert parts.journal.entry(wait.id).outcome == "superseded"
    assert parts.registry.version(2).status == "rejected"
    assert "no candidate waits for a person" not in {check.claim for check in entry.decision.checks}
