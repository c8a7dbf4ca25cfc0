"""Candidates: a twin learns from the past only, is judged on rows that neither it nor production
has seen, and age weighs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.bundle.frames import score_frame
from closedloop.errors import ModelError, SourceError
from closedloop.metrics.auc import measure_auc
from closedloop.training.candidates import fit_recipe, labelled_rows, split_windows
from closedloop.training.recipes import fit
from closedloop.training.twins import compare_twins, recipes_of
from closedloop.use_case.contract import UseCase
from tests.unit.training.shop_windows import (
    make_shop,
    make_windows,
    poisoned,
    prepared,
    with_training,
)


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_shop(tmp_path)


# Windows and their parts


def test_only_rows_with_a_label_are_used(use_case: UseCase) -> None:
    """Labels become integers in the order of the classes; rows without one are left out."""
    frame = prepared(1)
    frame.loc[::3, "left"] = None
    window = labelled_rows("w", 0, frame, "d", use_case)
    assert len(window.frame) == len(window.labels) == frame["left"].notna().sum()
    assert (window.labels == (window.frame["left"] == "True")).all()


def test_a_window_without_the_target_column_has_no_labelled_rows(use_case: UseCase) -> None:
    """It is empty, not an error: its labels have not come yet."""
    assert len(labelled_rows("w", 0, prepared(1).drop(columns="left"), "d", use_case).labels) == 0


def test_the_newest_labelled_window_judges_and_older_ones_teach(use_case: UseCase) -> None:
    """Whatever the order they come in, every teaching window is older than the judging one; an
    unlabelled newer one plays no part."""
    windows = make_windows(use_case)
    unlabelled = labelled_rows("w4", 4, prepared(4).drop(columns="left"), "d", use_case)
    split = split_windows((windows[2], unlabelled, windows[0], windows[3], windows[1]), use_case)
    assert [window.name for window in split.history] == ["w0", "w1", "w2"]
    assert split.evaluation.name == "w3"
    assert not split.held_out


def test_no_labels_anywhere_is_an_error_that_says_so(use_case: UseCase) -> None:
    """Without a labelled window there is nothing to learn from."""
    unlabelled = labelled_rows("w", 0, prepared(1).drop(columns="left"), "d", use_case)
    with pytest.raises(SourceError, match="at least one window with labels"):
        split_windows((unlabelled,), use_case)


def test_a_single_window_is_parted_by_key(use_case: UseCase) -> None:
    """Every row falls on one side, about the share asked for is held out, and rows of one key stay
    together, in any order of rows."""
    frame = prepared(1, rows=1000)
    frame["customer"] = [f"c{number % 500}" for number in range(1000)]
    split = split_windows((labelled_rows("w", 0, frame, "d", use_case),), use_case)
    taught, judged = split.history[0].frame, split.evaluation.frame
    assert split.held_out
    assert len(taught) + len(judged) == 1000
    assert 0.19 < len(judged) / 1000 < 0.31
    assert not set(taught["customer"]) & set(judged["customer"])
    shuffled = labelled_rows("w", 0, frame.sample(frac=1, random_state=3), "d", use_case)
    assert set(split_windows((shuffled,), use_case).evaluation.frame["customer"]) == set(
        judged["customer"]
    )
    assert (split.evaluation.labels == (judged["left"] == "True")).all()


def test_a_single_window_without_a_key_is_parted_by_row(use_case: UseCase) -> None:
    """Where the use case names no key, a row is its own; none is lost and none is on both sides."""
    frame = prepared(1)
    split = split_windows(
        (labelled_rows("w", 0, frame, "d", use_case),), replace(use_case, key=None)
    )
    assert sorted([*split.history[0].frame.index, *split.evaluation.frame.index]) == list(
        range(len(frame))
    )


# Nothing from the evaluation window reaches a twin


@pytest.mark.parametrize("one_window", [False, True], ids=["newer window", "held-out part"])
@pytest.mark.parametrize("recipes", [("logistic",), ("lightgbm",)])
def test_evaluation_labels_reach_no_twin(use_case: UseCase, one_window: bool, recipes: Any) -> None:
    """With every evaluation label turned round, all twins say exactly the same of all rows; only
    their scores turn round."""
    use_case = with_training(use_case, recipes=recipes)
    split = split_windows(make_windows(use_case, 1 if one_window else 4), use_case)
    clean = compare_twins(split, None, None, use_case)
    spoilt = compare_twins(
        replace(split, judges=(poisoned(split.evaluation),)), None, None, use_case
    )
    for recipe, answers in clean.predictions.items():
        assert np.array_equal(answers, spoilt.predictions[recipe])
    for before, after in zip(clean.comparisons, spoilt.comparisons, strict=True):
        assert before.candidate.val_auc == pytest.approx(1 - after.candidate.val_auc)
        assert before.candidate.val_auc > 0.8


def test_evaluation_rows_reach_no_twin(use_case: UseCase) -> None:
    """Evaluation rows with absurd values, and categories never seen before, change no answer about
    the other rows."""
    split = split_windows(make_windows(use_case), use_case)
    absurd = split.evaluation.frame.copy()
    absurd.loc[absurd.index[:100], "spend"] = 1e12
    absurd.loc[absurd.index[:100], "plan"] = "never seen"
    clean = compare_twins(split, None, None, use_case)
    spoilt = compare_twins(
        replace(split, judges=(replace(split.evaluation, frame=absurd),)), None, None, use_case
    )
    for recipe, answers in clean.predictions.items():
        assert np.array_equal(answers[100:], spoilt.predictions[recipe][100:])


def test_the_same_windows_give_the_same_twins(use_case: UseCase) -> None:
    """Nothing is drawn that the seed does not fix."""
    use_case = with_training(use_case, recipes=("logistic", "lightgbm"))
    split = split_windows(make_windows(use_case), use_case)
    first, second = (compare_twins(split, None, None, use_case) for _ in range(2))
    assert first.comparisons == second.comparisons
    assert all(
        np.array_equal(answers, second.predictions[recipe])
        for recipe, answers in first.predictions.items()
    )


# Age


def test_recent_rows_weigh_as_the_half_life_says(use_case: UseCase) -> None:
    """`recent` is a fit with half the weight for every half-life of age, counted in places in time:
    a missing window lets time pass."""
    every_window = make_windows(use_case, 5, (1.0, -0.5, 0.2, 0.7, 1.5))
    windows = tuple(window for window in every_window if window.index != 2)
    weights = np.concatenate(
        [np.full(len(window.labels), 0.5 ** (4 - window.index)) for window in windows]
    )
    frame = pd.concat([window.frame for window in windows])
    labels = np.concatenate([window.labels for window in windows])
    by_hand = fit(
        "logistic",
        frame,
        labels,
        numeric=use_case.numeric,
        categorical=use_case.categorical,
        weights=weights,
        seed=7,
    )
    asked = prepared(99)
    recent, every = (
        score_frame(fit_recipe(f"logistic/{history}", windows, use_case), asked)
        for history in ("recent", "all")
    )
    assert np.allclose(recent, by_hand.predict_proba(asked[list(use_case.columns)]), atol=1e-12)
    assert np.abs(recent - every).max() > 0.05


def test_recent_wins_when_the_world_turned(use_case: UseCase) -> None:
    """When what was true three windows ago is false today, the recency-weighted twin ranks the
    newest rows right, the other does not."""
    split = split_windows(make_windows(use_case, 5, (-1.0, -1.0, -1.0, 1.0, 1.0)), use_case)
    scores = {
        comparison.recipe: comparison.candidate.val_auc
        for comparison in compare_twins(split, None, None, use_case).comparisons
    }
    assert scores["logistic/recent"] > 0.8
    assert scores["logistic/all"] < 0.2


def test_one_window_of_history_has_one_age(use_case: UseCase) -> None:
    """With a single teaching window `recent` is the same model as `all` and is not fitted twice;
    alone it still is."""
    split = split_windows(make_windows(use_case, 2), use_case)
    assert list(compare_twins(split, None, None, use_case).predictions) == ["logistic/all"]
    alone = with_training(use_case, histories=("recent",))
    assert list(compare_twins(split, None, None, alone).predictions) == ["logistic/recent"]


# The comparison


def test_every_recipe_on_every_history_is_compared_in_the_order_of_the_file(
    use_case: UseCase,
) -> None:
    """The comparisons name their recipes, their window, and whether production was made by the same
    learner."""
    use_case = with_training(use_case, recipes=("lightgbm", "logistic"))
    split = split_windows(make_windows(use_case), use_case)
    answers = score_frame(
        fit_recipe("logistic/all", split.history[:1], use_case), split.evaluation.frame
    )
    found = compare_twins(split, answers, "logistic/all", use_case).comparisons
    assert tuple(comparison.recipe for comparison in found) == recipes_of(use_case)
    assert [comparison.same_recipe for comparison in found] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]
    assert {comparison.window for comparison in found} == {"w3"}
    for comparison in found:
        assert comparison.delta is not None
        assert comparison.production is not None
        assert comparison.production.val_auc == pytest.approx(
            measure_auc(split.evaluation.labels, answers)
        )
        assert comparison.delta.value == pytest.approx(
            comparison.candidate.val_auc - comparison.production.val_auc
        )
        assert 0.5 < comparison.baseline_auc < comparison.candidate.val_auc


def test_without_production_there_is_no_delta(use_case: UseCase) -> None:
    """The first model is scored by itself, and held-out rows are marked as such."""
    split = split_windows(make_windows(use_case, 1), use_case)
    (first,) = compare_twins(split, None, None, use_case).comparisons
    assert (first.production, first.delta) == (None, None)
    assert (first.same_recipe, first.held_out) == (False, True)


def test_a_class_that_no_window_shows_is_named(use_case: UseCase) -> None:
    """Three classes of which the last one is in no teaching row: the error says which one, before a
    model without it exists."""
    three = replace(use_case, target=replace(use_case.target, classes=("False", "True", "Maybe")))
    with pytest.raises(ModelError, match="none of class Maybe"):
        fit_recipe("logistic/all", make_windows(three), three)
