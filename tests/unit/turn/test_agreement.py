"""A registry that was lost, replaced or restored, and a journal that was, are told from one whose
alias a person moved; nothing moves until a person accepts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import RegistryError, StoreError, UseCaseError
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.agreement import find_faults, look_for_disagreement
from closedloop.turn.begin_anew import accept_as_it_is
from closedloop.turn.carry_out import carry_out
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from tests.mlflow_in_memory import MemoryClient
from tests.unit.turn.conftest import Place


def lose_registry(place: Place) -> None:
    place.client = place.loop.registry._client_made = MemoryClient()


def take_another_home(place: Place) -> None:
    lose_registry(place)
    place.add(3, made_by="other")
    place.loop.registry.promote(2, instead_of=None, reason="there")


def take_another_home_with_more(place: Place) -> None:
    lose_registry(place)
    place.add(9, made_by="other")
    place.loop.registry.promote(9, instead_of=None, reason="there")


def take_another_team(place: Place) -> None:
    lose_registry(place)
    place.client.create_registered_model("shop")
    place.client.create_model_version("shop", "theirs", "run", {})
    place.client.set_registered_model_alias("shop", "production", "1")


def restore_older_registry(place: Place) -> None:
    lose_registry(place)
    place.add(1)
    place.loop.registry.promote(1, instead_of=None, reason="then")


def delete_version(place: Place) -> None:
    place.client._versions["shop"] = [
        version for version in place.client._versions["shop"] if version.version != "2"
    ]
    place.client._aliases["shop"].pop("production")


def rename_model(place: Place) -> None:
    for kept in (place.client._versions, place.client._aliases):
        kept["shop-old"] = kept.pop("shop")  # type: ignore[attr-defined]


def lose_journal(place: Place) -> None:
    engine = open_engine("sqlite://")
    place.loop = replace(place.loop, engine=place.loop.engine, journal=Journal(engine))


LEFT = r"wanted version 2 \(sha256 files of run\), as decision 4 left it"
KINDS = {
    "the registry is gone": (lose_registry, f"{LEFT} in production, got no model of that name"),
    "that of another home": (take_another_home, f"{LEFT} in production, got another version 2"),
    "that of another home, with more versions": (
        take_another_home_with_more,
        f"{LEFT} in production, got another version 2",
    ),
    "another team's model": (take_another_team, f"{LEFT} in production, got only versions 1"),
    "an older backup of it": (restore_older_registry, f"{LEFT} in production, got only versions 1"),
    "production was deleted": (delete_version, f"{LEFT} in production, got only versions 1, 3"),
    "the model was renamed": (rename_model, f"{LEFT} in production, got no model of that name"),
    "the journal is gone": (
        lose_journal,
        "wanted nothing in production, because the journal knows of no promotion, got version 2 .*"
        "closedloop promote 2",
    ),
}


@pytest.fixture
def running(place: Place) -> Place:
    """Versions 1 and 2 were promoted, one after the other; 3 was registered."""
    place.add(3)
    for number in (1, 2):
        carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}"))
    return place


@pytest.mark.parametrize(("change", "told"), KINDS.values(), ids=KINDS)
def test_what_is_lost_or_swapped_is_told_and_moves_nothing_until_it_is_accepted(
    running: Place, change: Callable[[Place], None], told: str
) -> None:
    """By number and files; commands by hand are refused too. Once accepted, what is there is where
    the loop goes on, and a promotion under the same number is a decision of its own."""
    for number in (1, 2):
        promote_by_hand(running.loop, number)
    assert look_for_disagreement(running.loop) is None
    change(running)
    before = running.client._aliases
    for command in (promote_by_hand, roll_back_by_hand):
        with pytest.raises(RegistryError, match=told):
            command(running.loop, 1)
    assert running.client._aliases == before
    accepted = accept_as_it_is(running.loop)
    assert accepted.decision.version == running.loop.registry.production()
    assert running.loop.tell_moved() == ()
    assert look_for_disagreement(running.loop) is None
    with pytest.raises(UseCaseError, match="two that agree"):
        accept_as_it_is(running.loop)
    if not running.loop.registry.versions():
        running.add(1, made_by="new")
    decided = len(running.loop.journal.history("shop"))
    if running.loop.registry.production() != 1:
        assert promote_by_hand(running.loop, 1).outcome == "done"
        assert len(running.loop.journal.history("shop")) == decided + 1
        assert running.loop.registry.production() == 1
    assert look_for_disagreement(running.loop) is None


def test_a_lost_journal_is_also_settled_by_recording_what_is_live(running: Place) -> None:
    """As for an alias that somebody moved: the person names the version, and no other one."""
    lose_journal(running)
    with pytest.raises(RegistryError, match="closedloop promote 2"):
        promote_by_hand(running.loop, 1)
    assert promote_by_hand(running.loop, 2).outcome == "done"
    assert look_for_disagreement(running.loop) is None


def test_what_is_no_loss_is_not_told_as_one(running: Place) -> None:
    """An alias that a person moved, a promotion that a crash cut off before its outcome, and
    decisions of older versions, which name no files."""
    for moved in "13":
        running.client.set_registered_model_alias("shop", "production", moved)
        assert look_for_disagreement(running.loop) is None
    running.client.set_registered_model_alias("shop", "production", "2")
    decision = running.decide(Action.PROMOTE, 3, "cut off")
    running.loop.registry.promote(3, instead_of=2, reason="better")
    assert look_for_disagreement(running.loop) is None
    carry_out(running.loop, decision)
    older = Decision(Kind.PROMOTION, Action.PROMOTE, "month_010", (), 2)
    running.loop.journal.carried_out(running.loop.journal.write("older", "shop", older))
    running.loop.registry.promote(2, instead_of=3, reason="better")
    assert look_for_disagreement(running.loop) is None


def test_a_journal_that_somebody_changed_moves_nothing_until_it_is_accepted(
    running: Place,
) -> None:
    """A person's commands are refused too, with what was changed; afterwards they go on, and the
    acceptance stands in the journal with what was found."""
    with running.loop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decisions SET version = 3 WHERE id = 1")
    before = running.state()
    for command in (promote_by_hand, roll_back_by_hand):
        with pytest.raises(StoreError, match="got decision 1 is not what was written"):
            command(running.loop, 1)
    assert running.state() == before
    accepted = accept_as_it_is(running.loop)
    assert "decision 1 is not what was written" in str(accepted.decision.checks[-1])
    assert running.loop.journal.read_chain("shop").faults == ()
    assert roll_back_by_hand(running.loop, 1).outcome == "done"


def cut_off_the_end(place: Place) -> None:
    """The newest decision, its outcome and their links."""
    newest = place.loop.journal.history("shop")[-1].id
    with place.loop.engine.begin() as connection:
        for table in ("journal_chain", "outcomes"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE decision = {newest}")
        connection.exec_driver_sql(f"DELETE FROM decisions WHERE id = {newest}")


def write_the_chain_anew(place: Place) -> None:
    """A changed row, and hashes that fit it."""
    with place.loop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decisions SET at = '2020-01-01 00:00:00' WHERE id = 1")
        connection.exec_driver_sql("DELETE FROM journal_chain")
    place.loop.journal.chain_all("shop")


@pytest.mark.parametrize("change", [cut_off_the_end, write_the_chain_anew])
def test_a_chain_that_was_written_anew_is_told_by_the_head_in_mlflow(
    running: Place, change: Callable[[Place], None]
) -> None:
    """In itself it is whole: the hash that was kept when a decision was carried out is not in it.
    Nothing moves, no later head covers it, and once accepted it goes on."""
    rejected = running.decide(Action.REJECT, 3, "rejected")
    carry_out(running.loop, rejected)
    assert find_faults(running.loop) is None
    change(running)
    assert running.loop.journal.read_chain("shop").faults == ()
    for _ in range(2):
        with pytest.raises(StoreError, match="its end was cut off or rewritten: "):
            roll_back_by_hand(running.loop, 1)
        carry_out(running.loop, running.decide(Action.KEEP, None, "later"))
    accept_as_it_is(running.loop)
    assert find_faults(running.loop) is None
    assert roll_back_by_hand(running.loop, 1).outcome == "done"


def test_a_model_of_the_same_name_that_closedloop_did_not_make_is_not_used(place: Place) -> None:
    """Nothing was decided yet, and another team's model is there: no version joins theirs."""
    place.client.create_registered_model("shop")
    place.client.create_model_version("shop", "theirs", "run", {})
    found = look_for_disagreement(place.loop)
    assert "wanted a model that closedloop registered" in str(found)
    with pytest.raises(RegistryError, match="choose another name"):
        promote_by_hand(place.loop, 1)
