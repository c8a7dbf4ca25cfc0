"""A regression that no gate can see is promoted, found by its labels, taken back, and not promoted
again: a real loop with MLflow, without Prefect."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closedloop.decisions.checks import Action, Kind, Outcome
from closedloop.decisions.taken_back import TAKEN_BACK
from closedloop.registry.registry import Registry
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.turn.probation_standing import read_probation
from closedloop.turn.take_turn import take_turn
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow
ROWS, PLANTED_IN = 700, 2


def write_month(shop: TurnedLoop, month: int) -> None:
    """In one month `visits` tell who leaves; in every other they tell nothing.

    What learnt from that month trusts them. The twin that the gate judges has not learnt from it.
    """
    frame, draw = make_month(month, ROWS), np.random.default_rng(month)
    leaves = draw.random(ROWS) < 1 / (1 + np.exp((frame["spend"].fillna(50) - 50) / 12))
    frame["left"] = np.where(leaves, "yes", "no")
    told = (frame["left"] == "yes").to_numpy()
    if month != PLANTED_IN:
        told = draw.permutation(told)
    frame["visits"] = np.where(told, 9, 1) + draw.integers(0, 3, ROWS)
    frame.to_csv(shop.folder / f"2026-{month:02}.csv", index=False)


@pytest.fixture
def shop(tmp_path: Path, make_mlflow_tables: Callable[..., Any]) -> TurnedLoop:
    """Version 2, which learnt from the planted month, has replaced version 1."""
    shop = write_loop(tmp_path / "shop", 0, history="all")
    make_mlflow_tables(shop.settings.home_folder)
    for month in (1, 2):
        write_month(shop, month)
        entry = shop.train(f"2026-{month:02}")
        assert entry.decision.action is Action.PROMOTE, entry.decision.reason
    return shop


def turn(shop: TurnedLoop) -> Entry:
    return take_turn(History(shop.open()))


def test_it_is_taken_back_by_itself_and_not_promoted_again_on_the_same_rows(
    shop: TurnedLoop,
) -> None:
    """One window of labels is enough; the time and the rows it took are printed. Trained again on
    the same rows under other numbers, it is rejected with the reason; a person may promote it, and
    is told what it is; with the next month's labels the loop goes on by itself."""
    promoted = shop.open().journal.history("shop")[-1]
    write_month(shop, 3)
    began = time.perf_counter()
    back = turn(shop)
    seconds = time.perf_counter() - began
    assert (back.decision.kind, back.decision.action, back.outcome) == (
        Kind.ROLLBACK,
        Action.ROLLBACK,
        "done",
    )
    assert shop.open().registry.production() == 1
    print(
        f"\npromoted for {promoted.decision.window}, taken back in {back.decision.window}: "
        f"{ROWS} labelled rows, {seconds:.1f} s for the turn; {back.decision.reason}"
    )

    text = shop.path.read_text(encoding="utf-8")
    shop.path.write_text(text.replace("min_val_auc = 0.5", "min_val_auc = 0.51"), encoding="utf-8")
    again = shop.train("2026-02")
    failed = [check.claim for check in again.decision.checks if check.outcome is Outcome.FAILS]
    assert (again.decision.action, failed) == (Action.REJECT, [TAKEN_BACK])
    assert f"version 2 again, which decision {back.id} took back" in again.decision.reason

    newer = shop.train("2026-03")
    assert TAKEN_BACK not in {check.claim for check in newer.decision.checks}

    by_hand = promote_by_hand(shop.open(), 2)
    assert f"version 2, which decision {back.id} took back" in by_hand.decision.reason
    assert by_hand.outcome == "done"


class Killed(BaseException):
    """As a process ends that is killed: nothing handles it."""


@pytest.mark.nightly
def test_killed_between_decision_and_move_the_next_turn_finishes_it(
    shop: TurnedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision is there before anything moves. Killed before the move, and killed again after
    it, the same command carries it out, once."""

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    write_month(shop, 3)
    for place, method, live in ((Registry, "roll_back", 2), (Journal, "carried_out", 1)):
        monkeypatch.setattr(place, method, killed)
        with pytest.raises(Killed):
            turn(shop)
        monkeypatch.undo()
        assert shop.open().registry.production() == live
    back = turn(shop)
    assert (back.decision.action, back.outcome) == (Action.ROLLBACK, "done")
    loop = shop.open()
    assert (loop.registry.production(), loop.registry.previous()) == (1, None)
    assert loop.tell_moved() == ()
    assert read_probation(loop) is None
    rollbacks = [
        entry for entry in loop.journal.history("shop") if entry.decision.action is Action.ROLLBACK
    ]
    assert len(rollbacks) == 1
