"""What is asked for together is fitted once, and several fits at once give what one alone gives."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from closedloop.bundle.frames import score_frame
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.errors import ModelError
from closedloop.training.candidates import fit_recipe
from closedloop.training.fits import Fit, Fits, fit_one_by_one
from closedloop.training.learners import FEW_ROWS, THREADS, make_learner
from closedloop.turn.compute import Compute
from closedloop.use_case.contract import UseCase
from closedloop.use_case.recipe import Recipe
from tests.unit.training.shop_windows import make_shop, make_windows

RECIPES = ("baseline/all", "logistic/all", "logistic/recent", "lightgbm/all", "lightgbm/newest")


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_shop(tmp_path)


def test_nothing_is_fitted_twice(use_case: UseCase) -> None:
    """Not in one question and not in a later one; other windows or another use case are another
    fit."""
    windows, done = make_windows(use_case), list[Fit]()

    def fit_all(fits: Sequence[Fit]) -> list[PipelineScorer]:
        done.extend(fits)
        return fit_one_by_one(fits)

    fits = Fits(fit_all)
    both, fewer = (Fit("logistic/all", part, use_case) for part in (windows, windows[:2]))
    first, again, other = fits.ask(both, replace(both), fewer)
    assert (first is again, first is other, len(done)) == (True, False, 2)
    assert fits.ask(fewer, both) == [other, first]
    assert len(done) == 2
    fits.ask(replace(both, use_case=replace(use_case)), replace(both, recipe="logistic/recent"))
    assert len(done) == 4


def test_fits_at_once_give_what_each_alone_gives(
    use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit and in order, also with more rows than a fit on one thread is for."""
    monkeypatch.setattr("closedloop.training.learners.FEW_ROWS", 10)
    monkeypatch.setattr("closedloop.training.recipes.FEW_ROWS", 10)
    monkeypatch.setattr("closedloop.turn.compute.cpu_count", lambda: 4)
    windows = make_windows(use_case)
    found = Compute().fit_all([Fit(recipe, windows, use_case) for recipe in RECIPES])
    for recipe, scorer in zip(RECIPES, found, strict=True):
        alone = fit_recipe(recipe, windows, use_case)
        asked = windows[0].frame
        assert np.array_equal(score_frame(scorer, asked), score_frame(alone, asked))


def test_fits_share_the_processors(use_case: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight, each of four fits gets two; a fit alone gets all, and few rows get one thread."""

    class Noting(Compute):
        def fit(self, *given: object) -> PipelineScorer:
            noted.append(make_learner("lightgbm", {}, FEW_ROWS, 7).n_jobs)
            return PipelineScorer(None, (), ())

    monkeypatch.setattr("closedloop.turn.compute.cpu_count", lambda: 8)
    fit, noted = Fit("lightgbm/all", make_windows(use_case), use_case), list[int]()
    Noting().fit_all([replace(fit) for _ in range(4)])
    assert noted == [2, 2, 2, 2]
    Noting().fit_all([fit])
    assert (noted[4:], THREADS.get()) == ([-1], -1)
    assert make_learner("lightgbm", {}, FEW_ROWS - 1, 7).n_jobs == 1


def test_an_estimator_of_the_users_own_is_fitted_alone(
    use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that asks, after those that are fitted beside each other."""

    class Noting(Compute):
        def fit(self, recipe: str, *given: object) -> PipelineScorer:
            noted.append((recipe, threading.current_thread() is threading.main_thread()))
            return PipelineScorer(recipe, (), ())

    monkeypatch.setattr("closedloop.turn.compute.cpu_count", lambda: 4)
    own = Recipe(estimator="mine:build")
    use_case, noted = replace(use_case, recipes=MappingProxyType({"mine": own})), []
    asked = ["mine/all", "logistic/all", "logistic/recent"]
    found = Noting().fit_all([Fit(recipe, make_windows(use_case), use_case) for recipe in asked])
    assert [scorer.pipeline for scorer in found] == asked
    assert sorted(noted[:2]) == [("logistic/all", False), ("logistic/recent", False)]
    assert noted[2:] == [("mine/all", True)]


def test_a_fit_that_fails_among_others_says_why(use_case: UseCase) -> None:
    """The error of the fit, as if it were alone."""
    windows = make_windows(use_case)
    fits = [Fit(recipe, windows, use_case) for recipe in ("logistic/all", "nobody/all")]
    with pytest.raises(ModelError, match="recipe nobody"):
        Compute().fit_all(fits)
