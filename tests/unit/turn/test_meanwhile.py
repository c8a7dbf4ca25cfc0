"""Nothing changes its meaning while a candidate is fitted, or while a command waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine

from closedloop.cli.turn_summary import NOT_CARRIED_OUT, _result
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.decisions.evidence import PromotionEvidence
from closedloop.errors import RegistryError, StoreError
from closedloop.storage.details import PromotionDetails, TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.lock import hold_lock
from closedloop.storage.rows import Origin
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.quarantine_by_hand import decide_by_hand
from closedloop.turn.take_turn import retrain, write_request
from tests.spec.examples import delta, promotion
from tests.unit.turn.conftest import NamedWindows, Place

WINDOWS = ("month_008", "month_009", "month_010")


@pytest.fixture
def shop(place: Place) -> Place:
    """Versions 1 and 2 were promoted; 3 and 4 are there to be decided about."""
    place.loop = replace(place.loop, source=NamedWindows(WINDOWS))
    place.add(4)
    for number in (1, 2):
        carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}"))
    return place


def train(
    place: Place, during: Callable[[], object], *, better: float = 0.02, version: int = 3
) -> Entry:
    """A training as the flow runs it, with something that happens during the fit.

    A fit that held the lock would never end here.
    """

    def propose(history: History[Any]) -> PromotionEvidence:
        live = history.production.version if history.production else None
        evidence = promotion({"delta": delta(better)}, version=version, production=live)
        during()
        return evidence

    with place.loop.lock("train"):
        history = History(place.loop).look()
    history.__dict__["data_key"] = "rows"  # no window is read
    asked = write_request(history)
    lock = partial(place.loop.lock, "train")
    return retrain(history, asked, propose=propose, lock=lock)


def quarantine(place: Place, action: Action) -> None:
    """As another turn does, by itself."""
    decision = Decision(Kind.QUARANTINE, action, "month_009", ())
    journal = place.loop.journal
    journal.carried_out(journal.write(f"{action}", "shop", decision, details=TurnDetails(2)))


MEANWHILE = [
    pytest.param(lambda place: roll_back_by_hand(place.loop), 1, "meanwhile version 1", id="back"),
    pytest.param(lambda place: promote_by_hand(place.loop, 4), 4, "meanwhile version 4", id="4"),
    pytest.param(
        lambda place: place.client.delete_registered_model_alias("shop", "production"),
        None,
        "nothing is in production any more",
        id="alias gone",
    ),
    pytest.param(
        lambda place: decide_by_hand(place.loop, Action.QUARANTINE, "month_009"),
        2,
        "month_009 was taken out of training by decision",
        id="kept out by hand",
    ),
    pytest.param(
        lambda place: quarantine(place, Action.QUARANTINE),
        2,
        "month_009 was taken out of training by decision",
        id="kept out by a turn",
    ),
]


@pytest.mark.parametrize("better", [0.02, -0.05], ids=["to be promoted", "to be rejected"])
@pytest.mark.parametrize(("during", "live", "told"), MEANWHILE)
def test_what_comes_during_the_fit_happens_at_once_and_supersedes_the_training(
    shop: Place, during: Callable[[Place], object], live: int | None, told: str, better: float
) -> None:
    """The fit holds no lock. The candidate was judged by what is no longer so: it is neither
    promoted nor rejected, the reason says why and how to train again, and the request is done."""
    seen: list[int | None] = []

    def act() -> None:
        during(shop)
        seen.append(shop.loop.registry.production())

    entry = train(shop, act, better=better)
    assert seen == [live]
    assert shop.loop.registry.production() == live
    assert shop.state()[2][2] == "candidate"
    assert entry.outcome == "superseded"
    assert told in str(entry.note)
    assert "closedloop train --window month_010" in str(entry.note)
    assert _result(entry) == NOT_CARRIED_OUT
    assert shop.loop.journal.entry(entry.cause or 0).outcome == "done"


def test_what_has_nothing_to_do_with_it_changes_nothing(shop: Place) -> None:
    """A window that is trusted again, and a move there and back, leave the comparison as it was."""

    def act() -> None:
        quarantine(shop, Action.RELEASE)
        roll_back_by_hand(shop.loop)
        promote_by_hand(shop.loop, 2)

    assert train(shop, act).outcome == "done"
    assert shop.state()[:2] == (3, 2)


def test_a_decision_that_the_evidence_does_not_lead_to_is_not_carried_out(shop: Place) -> None:
    """A crash left it open and somebody changed it: the candidate is worse, and it says promote."""
    history = History(shop.loop).look()
    history.__dict__["data_key"] = "rows"
    written = Decision(Kind.PROMOTION, Action.PROMOTE, "month_010", (), 3)
    entry = shop.loop.journal.write(
        history.promotion_key, "shop", written, details=PromotionDetails(2)
    )
    with pytest.raises(
        StoreError,
        match=f"decision {entry.id}: wanted reject version 3, as the evidence says, "
        "got promote version 3",
    ):
        train(shop, lambda: None, better=-0.05)
    assert shop.state()[:2] == (2, 1)
    assert shop.loop.journal.entry(entry.id).outcome is None


def test_after_a_superseded_training_the_same_command_trains_again(shop: Place) -> None:
    """It compares with what is live now, and decides; once more, it finds that decision."""
    lost = train(shop, lambda: roll_back_by_hand(shop.loop))
    entry = train(shop, lambda: None, version=4)
    assert (entry.outcome, entry.production, shop.state()[:2]) == ("done", 1, (4, 1))
    assert entry.id != lost.id
    assert train(shop, lambda: pytest.fail("fitted again")).id == entry.id


COMMANDS = [
    pytest.param(lambda loop: roll_back_by_hand(loop), "rollback --to 1", id="one step back"),
    pytest.param(lambda loop: roll_back_by_hand(loop, 1), "rollback --to 1", id="to a version"),
    pytest.param(lambda loop: promote_by_hand(loop, 4), "promote 4", id="promote"),
]


@pytest.mark.parametrize(("command", "again"), COMMANDS)
def test_a_command_that_waited_is_refused_when_production_has_moved(
    shop: Place,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[Any], object],
    again: str,
) -> None:
    """Asked while 2 is live, it waits for a turn that promotes 3: nothing is written or moved, and
    the message says what was asked for, what came in between, and what still means the same."""

    @contextmanager
    def wait_for_a_promotion(name: str, engine: Engine, purpose: str) -> Iterator[None]:
        carry_out(shop.loop, shop.decide(Action.PROMOTE, 3, "promote 3"))
        with hold_lock(name, engine, purpose):
            yield

    monkeypatch.setattr("closedloop.turn.open.hold_lock", wait_for_a_promotion)
    with pytest.raises(RegistryError) as refused:
        command(shop.loop)
    newest = shop.loop.journal.history("shop")[-1]
    assert newest.origin is Origin.LOOP
    assert "wanted version 2 still in production, as when you asked" in str(refused.value)
    assert f"got version 3, by decision {newest.id}" in str(refused.value)
    assert f"closedloop {again}" in str(refused.value)
    assert shop.state()[:2] == (3, 2)


def test_a_rollback_that_waited_to_be_started_is_refused_too(shop: Place) -> None:
    """A run of Prefect's page is asked for when it is created, and may start after a promotion."""
    asked_at = datetime.now(UTC)
    carry_out(shop.loop, shop.decide(Action.PROMOTE, 3, "promote 3"))
    with pytest.raises(RegistryError, match="wanted version 2 still in production"):
        roll_back_by_hand(shop.loop, asked_at=asked_at)
    assert shop.state()[:2] == (3, 2)
    roll_back_by_hand(shop.loop, asked_at=datetime.now(UTC) + timedelta(seconds=1))
    assert shop.state()[:2] == (2, None)
