"""Aliases that somebody moved in MLflow: told by all that people look at, and no way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from closedloop.cli.examine.agreement import describe_aliases
from closedloop.cli.status_view import read_status
from closedloop.decisions.checks import Action
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.records.store import Records
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.moved_aliases import Live, ask_moved
from closedloop.turn.take_turn import write_request
from tests.unit.turn.conftest import NamedWindows, Place

UNKNOWN, REJECTED = 5, 4


@pytest.fixture
def shop(place: Place) -> Place:
    """Versions 1 to 3 were promoted, 4 was rejected, and the loop knows nothing of 5."""
    place.loop = replace(place.loop, records=Records(place.loop.engine))
    place.loop = replace(place.loop, source=NamedWindows(("month_008", "month_009")))
    place.add(5)
    for number in (1, 2, 3):
        carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}"))
    carry_out(place.loop, place.decide(Action.REJECT, REJECTED, "reject"))
    return place


def point(place: Place, **aliases: int | None) -> None:
    """As somebody does on MLflow's page."""
    for alias, version in aliases.items():
        if version is None:
            place.client.delete_registered_model_alias("shop", alias)
        else:
            place.client.set_registered_model_alias("shop", alias, str(version))


MOVED = [
    pytest.param({"production": 2}, "at version 2, by the journal at version 3", id="moved back"),
    pytest.param({"production": None}, "at no version, by the journal at version 3", id="deleted"),
    pytest.param({"production": 5}, "at version 5, which no decision is about", id="never judged"),
    pytest.param({"production": 4}, "at version 4, which decision 4 rejected", id="rejected"),
    pytest.param({"previous": 3}, "at version 3, by the journal at version 2", id="the same"),
    pytest.param({"previous": None}, "at no version, by the journal at version 2", id="gone"),
    pytest.param({"previous": 4}, "at version 4, which decision 4 rejected", id="not wanted"),
    pytest.param({"previous": 1}, "at version 1, by the journal at version 2", id="another"),
]


@pytest.mark.parametrize(("moved", "told"), MOVED)
def test_everything_that_people_look_at_tells_what_was_moved(
    shop: Place, moved: dict[str, int | None], told: str
) -> None:
    """The turn, a training that a person asks for, the status and the doctor; nobody while the
    aliases are where decisions put them."""
    assert (shop.loop.tell_moved(), History(shop.loop).moved) == ((), ())
    point(shop, **moved)
    (alias,) = moved
    (said,) = shop.loop.tell_moved()
    assert f"{alias} points {told}" in said
    assert "closedloop " in said
    assert read_status(shop.loop, {})["moved"] == (said,)
    assert History(shop.loop).moved == (said,)
    history = History(shop.loop)
    history.__dict__["data_key"] = "rows"  # no window is read
    assert write_request(history).turn.notes == (said,)
    with pytest.raises(ClosedLoopError) as caught:
        describe_aliases(shop.loop)
    assert said in str(caught.value)


@pytest.mark.parametrize("moved", [{"previous": 4}, {"previous": None}, {"previous": 1}])
def test_a_rollback_does_not_follow_an_alias_that_was_moved(
    shop: Place, moved: dict[str, int | None]
) -> None:
    """Neither by hand nor on probation, where nothing is left to compare with; the version that is
    named is gone to, and the decision says that it was rejected."""
    point(shop, **moved)
    before = shop.state()
    with pytest.raises(RegistryError, match="closedloop rollback --to N"):
        roll_back_by_hand(shop.loop, None)
    assert History(shop.loop).state().previous is None
    assert shop.state() == before
    entry = roll_back_by_hand(shop.loop, REJECTED)
    assert shop.loop.registry.production() == REJECTED
    assert "rollback version 4, which decision 4 rejected" in entry.decision.reason
    assert shop.loop.tell_moved() == ()


def test_a_rejected_version_that_was_live_by_hand_is_no_way_back(shop: Place) -> None:
    """Somebody makes a rejected version live, then the loop promotes another: what the promotion
    replaced is where the journal has it, and still no decision ever wanted it."""
    point(shop, production=REJECTED)
    carry_out(shop.loop, shop.decide(Action.PROMOTE, 2, "over it"))
    assert (shop.state()[:2], shop.loop.tell_moved()) == ((2, REJECTED), ())
    with pytest.raises(RegistryError, match="previous at version 4, which decision 4 rejected"):
        roll_back_by_hand(shop.loop, None)


@pytest.mark.parametrize(
    ("moved", "command", "state"),
    [
        ({"production": 2}, lambda loop: promote_by_hand(loop, 2), (2, 3)),
        ({"production": 5}, lambda loop: promote_by_hand(loop, 5), (5, 3)),
        ({"production": 5}, lambda loop: roll_back_by_hand(loop, 3), (3, None)),
        ({"production": None}, lambda loop: promote_by_hand(loop, 3), (3, 2)),
    ],
    ids=["recorded", "recorded, of nobody", "taken back", "put back"],
)
def test_the_commands_that_are_named_bring_it_in_order(
    shop: Place, moved: dict[str, int | None], command: Callable[..., object], state: tuple[int]
) -> None:
    """What was moved is recorded as a person's decision, or taken back; then nothing is told."""
    point(shop, **moved)
    command(shop.loop)
    assert shop.state()[:2] == state
    assert shop.loop.tell_moved() == ()
    assert shop.state()[2].count("production") == 1


@pytest.mark.parametrize("action", [Action.PROMOTE, Action.ROLLBACK])
def test_a_command_that_was_cut_off_moved_nothing_behind_the_loop(
    shop: Place, action: Action
) -> None:
    """Wherever a promotion or a rollback is cut off, the aliases are between two states that the
    journal knows, and nobody is accused."""
    after, version = 0, 1 if action is Action.ROLLBACK else REJECTED
    entry = shop.decide(action, version, "cut off")
    while shop.crash_in(lambda: carry_out(shop.loop, entry), after):
        assert shop.loop.tell_moved() == ()
        after += 1
    assert after > 3
    assert shop.loop.tell_moved() == ()


def test_a_move_while_it_is_looked_at_is_not_told(shop: Place) -> None:
    """A promotion is carried out between the look at the registry and the look at the journal."""

    def read_and_promote() -> Live:
        registry = shop.loop.registry
        now = Live(registry.production(), registry.previous())
        if registry.production() != 1:
            carry_out(shop.loop, shop.decide(Action.PROMOTE, 1, "meanwhile"))
        return now

    assert ask_moved(shop.loop.journal, "shop", read_and_promote) == ()
