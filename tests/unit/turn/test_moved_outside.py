"""A `production` that MLflow's own client moved: the next turn writes it down and handles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.decisions.policy import Policy
from closedloop.decisions.registry_policy import MovedOutside, RegistryPolicy
from closedloop.storage.details import PromotionDetails
from closedloop.storage.entry import Entry
from closedloop.turn.begin_turn import begin_turn
from closedloop.turn.carry_out import carry_out
from closedloop.turn.live_at import find_live
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.turn.moved_aliases import tell_outside
from closedloop.turn.moved_outside import settle_moved
from closedloop.turn.open import Loop
from tests.turned_loop import TurnedLoop, write_loop
from tests.unit.turn.conftest import Place
from tests.unit.turn.test_moved_aliases import point, shop  # noqa: F401  # a fixture


def notes(loop: Loop) -> list[Entry]:
    return list(loop.journal.history(loop.use_case.name, kinds=(Kind.OUTSIDE,)))


def test_each_move_is_written_down_once(shop: Place) -> None:
    """However often a turn looks; another move is another decision, and so is that it is back, and
    the same move again after that. By default nothing is moved, and a person is called."""
    assert settle_moved(shop.loop, "month_009") is None
    places = [5, 5, 4, 5, None, 3, 3, 5]
    for found in places:
        point(shop, production=found)
        settle_moved(shop.loop, "month_009")
        assert shop.loop.registry.production() == found
    assert [(entry.decision.action, entry.decision.version) for entry in notes(shop.loop)] == [
        (Action.ESCALATE, 5),
        (Action.ESCALATE, 4),
        (Action.ESCALATE, 5),
        (Action.ESCALATE, None),
        (Action.KEEP, 3),
        (Action.ESCALATE, 5),
    ]
    assert {entry.outcome for entry in notes(shop.loop)} == {"done"}
    assert shop.loop.journal.read_chain("shop").faults == ()


def test_a_note_says_nothing_of_the_version(shop: Place) -> None:
    """The sentence for people is the same after the move was written down, and what was live is
    still told by the decisions, with the note beside it."""
    point(shop, production=5)
    before = shop.loop.tell_moved()
    entry = settle_moved(shop.loop, "month_009")
    assert entry is not None
    assert shop.loop.tell_moved() == before
    entries = shop.loop.journal.history("shop")
    live = find_live(entries, entries[-1].at)
    assert (live.version, live.outside and live.outside.id) == (3, entry.id)
    point(shop, production=3)
    settle_moved(shop.loop, "month_009")
    entries = shop.loop.journal.history("shop")
    assert find_live(entries, entries[-1].at).outside is None


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    """Three versions with files, the second in production by hand."""
    turned = write_loop(tmp_path_factory.mktemp("shop"), 6, history="all")
    make_mlflow_tables(turned.settings.home_folder)
    for window in ("2026-01", "2026-02", "2026-03"):
        turned.train(window)
    return turned


@pytest.fixture
def open_with(trained: TurnedLoop) -> Callable[[MovedOutside], Loop]:
    def open(rule: MovedOutside) -> Loop:
        loop = trained.open()
        policy = replace(loop.use_case.policy, registry=RegistryPolicy(rule))
        return replace(loop, use_case=replace(loop.use_case, policy=policy))

    return open


def stand_at(loop: Loop, version: int) -> None:
    """Make a version production, unless it is, by a decision of a person."""
    if loop.registry.production() != version:
        promote_by_hand(loop, version)


def client_of(loop: Loop) -> Any:
    return MlflowClient(loop.registry.tracking_uri)


@pytest.mark.slow
def test_production_is_moved_back_once_a_window(
    open_with: Callable[[MovedOutside], Loop],
) -> None:
    """With `return`: written down before it is done, `previous` too; whoever insists in the same
    window is left to a person, and the next window moves it back again. A deleted alias as well."""
    loop = open_with("return")
    stand_at(loop, 1)
    stand_at(loop, 2)
    statuses = [facts.status for facts in loop.registry.versions()]
    client, seen = client_of(loop), []

    def act(loop: Loop, entry: Entry) -> Entry:
        seen.append((entry.decision.action, loop.registry.production(), entry.outcome))
        return carry_out(loop, entry)

    client.set_registered_model_alias("shop", "production", "3")
    client.set_registered_model_alias("shop", "previous", "3")
    begin_turn(loop, "2026-03", act=act)
    assert seen == [(Action.RETURN, 3, None)]
    assert (loop.registry.production(), loop.registry.previous()) == (2, 1)
    assert loop.tell_moved() == ()
    (told,) = tell_outside(notes(loop), "2026-03")
    assert told.startswith("somebody moved production outside of closedloop to version 3; by the")
    assert ": moved back, decision " in told
    for _ in range(2):
        client.set_registered_model_alias("shop", "production", "3")
        begin_turn(loop, "2026-03")
        assert loop.registry.production() == 3
    begin_turn(loop, "2026-04")
    assert loop.registry.production() == 2
    client.delete_registered_model_alias("shop", "production")
    history = begin_turn(loop, "2026-05")
    assert loop.registry.production() == 2
    assert "to no version; by the journal it is at version 2" in history.moved[0]
    assert [entry.decision.action for entry in notes(loop)[-4:]] == [
        *(Action.RETURN, Action.ESCALATE, Action.RETURN, Action.RETURN)
    ]
    assert [facts.status for facts in loop.registry.versions()] == statuses


@pytest.mark.slow
def test_what_was_moved_is_taken_as_live_when_it_can_serve(
    open_with: Callable[[MovedOutside], Loop],
) -> None:
    """With `accept`: from then on it is production by a decision, and a rollback leads back to what
    it replaced. One that was rejected, that lost its files, or none at all is left to a person."""
    loop = open_with("accept")
    stand_at(loop, 2)
    client = client_of(loop)
    client.set_registered_model_alias("shop", "production", "1")
    history = begin_turn(loop, "2026-06")
    newest = notes(loop)[-1]
    assert (newest.decision.action, newest.decision.version) == (Action.ACCEPT, 1)
    assert (loop.registry.production(), loop.registry.previous()) == (1, 2)
    assert loop.registry.version(1).status == "production"
    assert loop.tell_moved() == ()
    assert "taken as live" in history.moved[0]
    entries = loop.journal.history("shop")
    live = find_live(entries, entries[-1].outcome_at or entries[-1].at)
    assert live.began is not None
    assert (live.version, live.began.id) == (1, newest.id)

    client.delete_registered_model_alias("shop", "production")
    begin_turn(loop, "2026-06")
    assert notes(loop)[-1].decision.reason.endswith("is not accepted at no version: there is none")
    rejected = client.create_model_version("shop", client.get_model_version("shop", "3").source)
    number = int(rejected.version)
    refusal = Decision(Kind.PROMOTION, Action.REJECT, "2026-06", (request_check("no"),), number)
    loop.journal.write("no", "shop", refusal, details=PromotionDetails(1))
    client.set_registered_model_alias("shop", "production", str(number))
    begin_turn(loop, "2026-06")
    assert "is against it" in notes(loop)[-1].decision.reason
    client.set_registered_model_alias("shop", "production", "3")
    (loop.registry.download(3) / "facts.json").write_text("{}", encoding="utf-8")
    begin_turn(loop, "2026-06")
    assert notes(loop)[-1].decision.action is Action.ESCALATE
    assert (
        "is not accepted at version 3: wanted files with sha256" in notes(loop)[-1].decision.reason
    )
    assert loop.registry.production() == 3


def test_the_default_policy_only_tells() -> None:
    """As before there was a choice."""
    assert Policy().registry.moved_outside == "tell"
