"""Folds: a recipe is fitted on older windows than those that it is scored on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.experiment.folds import make_folds
from closedloop.turn.history import History
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    """Five windows; some rows of the second come again in the fourth."""
    place = write_loop(tmp_path_factory.mktemp("shop"), 5)
    make_mlflow_tables(place.settings.home_folder)
    fourth = make_month(4)
    fourth.iloc[:50] = make_month(2).iloc[:50]
    fourth.to_csv(place.folder / "2026-04.csv", index=False)
    return place


def test_folds_never_look_ahead(shop: TurnedLoop) -> None:
    """Each fold is fitted on all windows before the one that it is scored on, and on no row of it;
    the newest window is left to the gate, and rows that came before judge nobody."""
    made = make_folds(History(shop.open()), 2)
    assert made.left == "2026-05"
    fitted = {fold.judged.name: [window.name for window in fold.history] for fold in made.folds}
    assert fitted == {
        "2026-03": ["2026-01", "2026-02"],
        "2026-04": ["2026-01", "2026-02", "2026-03"],
    }
    for fold in made.folds:
        assert max(window.index for window in fold.history) < fold.judged.index
        known = {key for window in fold.history for key in window.frame["customer"]}
        assert not known & set(fold.judged.frame["customer"])
    assert len(made.folds[1].judged.labels) == 250


def test_two_windows_leave_none_to_the_gate(shop: TurnedLoop) -> None:
    """Then the newest is scored on, and `left` says so."""
    made = make_folds(History(shop.open(), "2026-02"), 3)
    assert (made.named, made.left) == (("2026-02",), None)


def test_production_is_scored_only_on_rows_newer_than_its_own(shop: TurnedLoop) -> None:
    """Trained through March, it stands beside the trials on April alone."""
    shop.train("2026-03")
    made = make_folds(History(shop.open()), 3)
    scored = {fold.judged.name: fold.production is not None for fold in made.folds}
    assert scored == {"2026-02": False, "2026-03": False, "2026-04": True}
