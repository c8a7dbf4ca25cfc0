"""What `init` makes of the spellings of a value: classes, categories, words for null."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.errors import UseCaseError
from closedloop.use_case.contract import MISSING
from tests.unit.cli.drafted import ROWS, cycle, draft, table

pytestmark = pytest.mark.slow


def with_target(labels: list[Any]) -> pd.DataFrame:
    return table(cycle(range(97))).assign(left=pd.Series(cycle(labels), dtype=object))


def test_spellings_of_the_target_are_one_class(tmp_path: Path) -> None:
    """Yes, yes, 'YES ' and No with a no-break space are two classes in their most common spelling,
    and init says which became one."""
    labels = ["Yes", "Yes", "yes", "YES ", "No", "No", "NO\u00a0", "no", "No"]
    found = draft(with_target(labels), tmp_path)
    assert found.use_case.target.classes == ("No", "Yes")
    assert found.prepared()["left"].isna().sum() == 0
    assert 'one class, written in 3 ways: "Yes", "' in found.notes
    assert 'written in 3 ways: "Yes"' in found.text
    assert draft(with_target(["a", "A"]), tmp_path).use_case.target.classes == ("A", "a")


@pytest.mark.parametrize(
    ("labels", "positive", "why"),
    [
        (["yes", "no", "yes"], "yes", "by its meaning"),
        (["Ja", "Nein", "Ja"], "Ja", "by its meaning"),
        (["n", "y", "y"], "y", "by its meaning"),
        ([True, False, True], "True", "by its meaning"),
        (["1", "0", "1"], "1", "the larger number"),
        (["-1", "1", "1"], "1", "the larger number"),
        (["churned", "active", "churned"], "churned", "by its meaning"),
        (["good", "bad", "bad"], "bad", "by its meaning"),
        (["fraud", "ok", "fraud"], "fraud", "by its meaning"),
        (["not_sold", "sold", "sold"], "sold", '"not_sold" means no'),
        (["unpaid", "paid", "paid"], "paid", '"unpaid" negates it'),
        (["No default", "Default", "Default"], "Default", "by its meaning"),
        (["red", "blue", "red"], "blue", "the rarer one, 33 % of the labels"),
    ],
)
def test_the_positive_class_is_chosen_by_meaning(
    tmp_path: Path, labels: list[Any], positive: str, why: str
) -> None:
    """The class that says yes, else the rarer one; init says which, and why."""
    found = draft(with_target(labels), tmp_path)
    assert found.use_case.target.classes[1] == positive
    assert f'the positive class is "{positive}" ({why})' in found.notes
    assert why in found.text


def test_the_positive_class_can_be_named(tmp_path: Path) -> None:
    """--positive sets it, in any spelling; an unknown class is refused with the classes."""
    frame = with_target(["Stays", "leaves", "Stays"])
    found = draft(frame, tmp_path, positive="stays")
    assert found.use_case.target.classes == ("leaves", "Stays")
    with pytest.raises(UseCaseError, match="'gone', and the classes Stays, leaves"):
        draft(frame, tmp_path, positive="gone")
    with pytest.raises(UseCaseError, match="drop --positive"):
        draft(with_target(["a", "b", "c"]), tmp_path, positive="a")


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        ([0.5 + number for number in range(15)], "15 numbers such as"),
        (["1.5", "2.5", "3"], "looks like a quantity"),
        ([f"{number / 2}%" for number in range(9)], "looks like a quantity"),
        (list(range(21)), "looks like a quantity"),
    ],
)
def test_a_target_with_fractions_is_a_regression(
    tmp_path: Path, labels: list[Any], got: str
) -> None:
    """Fractions are quantities, however few; so are more than 20 numbers. It is said that nothing
    here does a regression, and where three classes could be cut."""
    with pytest.raises(UseCaseError, match=got) as refused:
        draft(with_target(labels), tmp_path)
    assert "is a regression, which closedloop does not do" in refused.value.then
    low, high = map(float, re.findall(r"cut at (\S+) and (\S+),", refused.value.then)[0])
    numbers = [float(str(label).strip("%")) for label in labels]
    assert min(numbers) < low < high < max(numbers)


def test_whole_numbers_are_classes(tmp_path: Path) -> None:
    """Up to 20 whole numbers, in their order, also when a CSV file writes 2.0; from 11 on, a
    comment asks whether they are a quantity."""
    found = draft(with_target(list(range(20))), tmp_path)
    assert found.use_case.target.classes == tuple(map(str, range(20)))
    assert "20 whole numbers are taken for as many classes" in found.text
    assert "whole numbers are taken" not in draft(with_target(list(range(10))), tmp_path).text
    floats = draft(with_target([2.0, 10.0, None]), tmp_path).use_case.target.classes
    assert floats == ("2", "10")


def test_one_city_in_all_forms_of_unicode(tmp_path: Path) -> None:
    """Composed, decomposed, with a no-break space, with a mark of no width: one category."""
    cities = ["Z\u00fcrich", "Zu\u0308rich", "Z\u00fcrich\u00a0", "\u200bZ\u00fcrich", "Bern"]
    found = draft(table(cycle(cities)), tmp_path)
    assert found.x.allowed == ("Bern", "Z\u00fcrich")
    assert set(found.prepared()["x"]) == {"Bern", "Z\u00fcrich"}


def test_values_that_differ_only_in_case_are_merged_with_a_comment(tmp_path: Path) -> None:
    """Yes and yes are one; a1 and A1 look like codes, and m and M differ in their target."""
    words = draft(table(cycle(["Yes", "Yes", "yes", "no"])), tmp_path)
    assert words.x.allowed == ("Yes", "no")
    assert 'one value: "Yes" (120 rows), "yes" (60 rows)' in words.text
    codes = draft(table(cycle(["a1", "A1", "b2"])), tmp_path)
    assert codes.x.allowed == ("A1", "a1", "b2")
    assert set(codes.prepared()["x"]) == {"A1", "a1", "b2"}
    assert "kept apart" in codes.notes
    labels = cycle(["yes", "no"])
    units = ["m" if label == "yes" else "M" for label in labels]
    assert draft(table(units).assign(left=labels), tmp_path).x.allowed == ("M", "m")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(("word", "rest"), [("NA", "ZA"), ("None", "Tile"), ("n/a", "left")])
def test_words_for_null_are_values_where_cells_are_empty(
    tmp_path: Path, ending: str, word: str, rest: str
) -> None:
    """Namibia is NA, and a roof may be None, when what is missing is an empty cell; otherwise the
    word counts as null and is named with its count."""
    x = [word if row % 2 else rest if row % 3 else "other" for row in range(ROWS)]
    empty = draft(table(x, y=cycle(["a", "b", "c", None])), tmp_path, ending)
    assert word in empty.x.allowed
    assert f'"{word}" in 120 rows (50 %) is a value' in empty.notes
    assert (empty.prepared()["x"] == word).sum() == 120
    full = draft(table(x), tmp_path, ending)
    assert (word in full.x.allowed, full.x.max_null_rate) == (False, 0.8)
    assert f'"{word}" in 120 rows (50 %) counts as null' in full.notes
    assert (full.prepared()["x"] == MISSING).sum() == 120


def test_a_word_for_null_among_numbers_is_null_everywhere(tmp_path: Path) -> None:
    """Where ages say NA, countries do too, empty cells or not."""
    ages = [str(row % 70) if row % 9 else "NA" for row in range(ROWS)]
    frame = table(cycle(["NA", "b", "c"]), y=cycle(["a", "b", None]), age=ages)
    found = draft(frame, tmp_path)
    assert found.x.allowed == ("b", "c")
    assert found.use_case.columns["age"].type == "numeric"
    assert '"NA" in 27 rows (11 %)' in found.notes


def test_a_word_for_null_among_too_many_values_is_named(tmp_path: Path) -> None:
    """Only `allowed` makes a value of NA, and 40 countries are too many to list."""
    countries = ["NA", *(f"country {number}" for number in range(40))]
    found = draft(table(cycle(countries), y=cycle(["a", "b", None])), tmp_path)
    assert found.x.allowed == ()
    assert '"NA" in 6 rows (2.5 %) counts as null; only allowed makes it a value' in found.text


def test_a_class_may_be_called_none(tmp_path: Path) -> None:
    """None, mild and severe are three classes when rows without a label are empty."""
    frame = with_target(["None", "mild", "severe", "mild"]).assign(y=cycle(["a", "b", None]))
    assert draft(frame, tmp_path).use_case.target.classes == ("None", "mild", "severe")
    full = draft(with_target(["None", "mild", "severe", "mild"]), tmp_path)
    assert full.use_case.target.classes == ("mild", "severe")
    assert '"None" in 60 rows (25 %) counts as not labelled' in full.notes


def test_question_marks_among_categories_are_values_that_are_told(tmp_path: Path) -> None:
    """'?' may be an answer: it is listed, and the comment says how to make it null."""
    found = draft(table(cycle(["a", "b", "?"])), tmp_path)
    assert found.x.allowed == ("?", "a", "b")
    assert 'null_values = ["?"] under [source]' in found.notes
    assert np.isclose(found.x.max_null_rate, 0.05)
