"""Several windows judge together where one has too few rows of a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closedloop.bundle.frames import score_frame
from closedloop.training.candidates import fit_recipe, split_windows
from closedloop.training.twins import compare_twins
from closedloop.use_case.contract import UseCase
from tests.unit.training.shop_windows import make_shop, make_windows, poisoned


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_shop(tmp_path)


@pytest.mark.parametrize(
    ("of_each", "most", "known_through", "judges"),
    [
        (30, 9, None, ["w3"]),
        (250, 9, None, ["w2", "w3"]),
        (250, 1, None, ["w3"]),
        (999, 2, None, ["w2", "w3"]),
        (999, 9, None, ["w1", "w2", "w3"]),
        (250, 9, 1, ["w2", "w3"]),
        (250, 9, 2, ["w3"]),
        (250, 9, 3, ["w3"]),
    ],
    ids=[
        "one is enough",
        "two are",
        "not more than allowed",
        "as many as allowed",
        "one to learn from",
        "new to production",
        "production knows the older one",
        "production knows both",
    ],
)
def test_newest_windows_judge_together_where_one_has_too_few(
    use_case: UseCase, of_each: int, most: int, known_through: int | None, judges: list[str]
) -> None:
    """As few as have enough rows of each class, at most `max_evaluation_windows`, and of several
    only those that production has not learnt from."""
    windows = make_windows(use_case)
    assert {150 < np.bincount(window.labels).min() < 250 for window in windows} == {True}
    rules = replace(
        use_case.policy.promotion,
        min_rows=1,
        min_rows_per_class=of_each,
        max_evaluation_windows=most,
    )
    patient = replace(use_case, policy=replace(use_case.policy, promotion=rules))
    split = split_windows(windows, patient, known_through)
    assert [window.name for window in split.judges] == judges
    together = split.history + split.judges
    assert [window.name for window in together] == ["w0", "w1", "w2", "w3"]
    assert (split.evaluation.name, split.evaluation.index) == ("w3", 3)
    rows = sum(len(window.labels) for window in split.judges)
    assert len(split.evaluation.frame) == len(split.evaluation.labels) == rows
    (twin, *_) = compare_twins(split, None, None, patient).comparisons
    assert (*twin.judged_with, twin.window) == tuple(judges)
    assert twin.candidate.rows == rows


def test_each_window_that_judges_is_scored_by_a_twin_of_all_before_it(use_case: UseCase) -> None:
    """Its own labels and later ones reach no answer about it; the labels of an older window that
    judges reach those about newer ones, so that a change is learnt as soon as it is known."""
    rules = replace(use_case.policy.promotion, min_rows_per_class=250, max_evaluation_windows=2)
    patient = replace(use_case, policy=replace(use_case.policy, promotion=rules))
    split = split_windows(make_windows(use_case), patient)
    older, newest = split.judges
    clean = compare_twins(split, None, None, patient)
    after, before = (
        compare_twins(replace(split, judges=judges), None, None, patient)
        for judges in ((older, poisoned(newest)), (poisoned(older), newest))
    )
    for recipe, answers in clean.predictions.items():
        own, later = np.split(answers, [len(older.labels)])
        fitted = fit_recipe(recipe, (*split.history, older), patient)
        assert np.array_equal(later, score_frame(fitted, newest.frame))
        assert np.array_equal(later, score_frame(clean.scorers[recipe], newest.frame))
        assert np.array_equal(answers, after.predictions[recipe])
        assert np.array_equal(own, before.predictions[recipe][: len(own)])
        assert not np.array_equal(later, before.predictions[recipe][len(own) :])
