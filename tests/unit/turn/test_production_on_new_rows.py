"""Production on the rows that judge a candidate: asked only when it has not seen them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.bundle.frames import score_frame
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.training.candidates import Split, fit_recipe, split_windows
from closedloop.training.fits import Fits
from closedloop.turn.compute import Compute
from closedloop.turn.judged_production import find_production
from closedloop.use_case.contract import UseCase
from tests.unit.training.shop_windows import make_shop, make_windows, poisoned


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_shop(tmp_path)


class NeverAsked:
    """A model that was trained on the rows that judge."""

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        raise AssertionError("a model was asked about rows that it was trained on")


class Undecided:
    """A model that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[pd.DataFrame] = []

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        self.asked.append(frame)
        return np.full((len(frame), 2), 0.5)


def ask(
    split: Split,
    use_case: UseCase,
    trained_through: str | None,
    model: Any,
) -> Any:
    """Production's answers, when it was trained through a window; `model` is the pipeline that was
    loaded, None when it cannot be."""
    live = (
        None
        if trained_through is None
        else SimpleNamespace(recipe="logistic/all", trained_through=trained_through)
    )
    places = {window.name: window.index for window in (*split.history, split.evaluation)}
    scorer = PipelineScorer(model, use_case.numeric, use_case.categorical)
    loop = SimpleNamespace(use_case=use_case, compute=Compute())
    history: Any = SimpleNamespace(
        loop=loop,
        production=live,
        place=places.get,
        bundle=None if model is None else SimpleNamespace(scorer=scorer, use_case=use_case),
        production_error="it cannot be loaded",
    )
    found, error = find_production(history, split, Fits(loop.compute.fit_all))
    return None if found is None else score_frame(found, split.evaluation.frame), error


def test_production_that_saw_the_evaluation_rows_is_judged_by_a_twin(use_case: UseCase) -> None:
    """Its recipe is refitted on the teaching windows; the model itself, too sure of rows that it
    was trained on, is not asked."""
    split = split_windows(make_windows(use_case), use_case)
    answers, error = ask(split, use_case, "w3", NeverAsked())
    twin = fit_recipe("logistic/all", split.history, use_case)
    assert error is None
    assert np.array_equal(answers, score_frame(twin, split.evaluation.frame))


def test_production_trained_on_a_single_window_is_judged_on_its_held_out_part_by_a_twin(
    use_case: UseCase,
) -> None:
    """The first model was shipped fitted on all rows of its window; asked again on that window, a
    twin without the judging rows answers."""
    split = split_windows(make_windows(use_case, 1), use_case)
    answers, _ = ask(split, use_case, "w0", NeverAsked())
    turned = replace(split, judges=(poisoned(split.evaluation),))
    clean, _ = ask(turned, use_case, "w0", NeverAsked())
    assert np.array_equal(answers, clean)


def test_production_older_than_the_evaluation_rows_answers_itself(use_case: UseCase) -> None:
    """It is asked about exactly the rows of the evaluation window."""
    split = split_windows(make_windows(use_case), use_case)
    model = Undecided()
    answers, error = ask(split, use_case, "w2", model)
    assert error is None
    assert answers.shape == (len(split.evaluation.labels), 2)
    features = split.evaluation.frame[["spend", "plan"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(model.asked[0], features)


def test_production_that_cannot_be_asked_says_why(use_case: UseCase) -> None:
    """No answers, and the reason; without production neither."""
    split = split_windows(make_windows(use_case), use_case)
    assert ask(split, use_case, "w2", None) == (None, "it cannot be loaded")
    assert ask(split, use_case, None, None) == (None, None)
