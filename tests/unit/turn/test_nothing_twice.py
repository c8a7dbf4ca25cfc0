"""A training fits each recipe on each history once, and the chosen one once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from closedloop.bundle.skops_model import PipelineScorer
from closedloop.training.fits import Fit
from closedloop.turn.candidate import fit_candidate
from closedloop.turn.compute import Compute
from closedloop.turn.history import History
from tests.turned_loop import TurnedLoop, write_loop

pytestmark = pytest.mark.slow

TWINS = [("baseline/all", 2), ("logistic/newest", 2), ("logistic/recent", 2)]


class Noting(Compute):
    """Notes what is fitted, on how many windows."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int]] = []

    def fit_all(self, fits: Sequence[Fit]) -> list[PipelineScorer]:
        self.noted += [(fit.recipe, len(fit.windows)) for fit in fits]
        return super().fit_all(fits)


@pytest.fixture
def turned(tmp_path: Path, make_mlflow_tables: Callable[[Path], None]) -> TurnedLoop:
    made = write_loop(tmp_path, 3)
    make_mlflow_tables(made.settings.home_folder)
    return made


def list_fits(turned: TurnedLoop) -> list[tuple[str, int]]:
    """What a training for the newest window fits."""
    compute = Noting()
    fit_candidate(History(replace(turned.open(), compute=compute)).look())
    assert compute.noted[-1][1] == 3  # the refit
    return sorted(compute.noted[:-1])


def test_a_training_fits_each_twin_once(turned: TurnedLoop) -> None:
    """The first model, and one that is compared with production."""
    assert list_fits(turned) == TWINS
    turned.train("2026-02")
    assert list_fits(turned) == TWINS


def test_productions_twin_is_one_of_them(turned: TurnedLoop) -> None:
    """Production that knows the judging rows is judged by a twin, which is fitted already; with
    another meaning of its recipe it is another fit."""
    turned.train("2026-03")
    recipe = turned.open().registry.load(1).facts.recipe
    assert list_fits(turned) == TWINS
    with turned.path.open("a", encoding="utf-8") as file:
        file.write("[recipes.logistic]\nparameters = { C = 0.5 }\n")
    assert list_fits(turned) == sorted([*TWINS, (recipe, 2)])
