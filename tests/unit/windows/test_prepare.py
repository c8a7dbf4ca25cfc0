"""Preparing a window: what counts as a number, a category, a label and a null."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.use_case.contract import MISSING, UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.prepare import digest, prepare
from tests.unit.windows.conftest import CONTENT, good_rows


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (" 1,234.50 ", 1234.5),
        ("€12", 12.0),
        ("-3", -3.0),
        ("1e3", 1000.0),
        (True, 1.0),
        ("False", 0.0),
        (Decimal("2.5"), 2.5),
        (7, 7.0),
        ("", None),
        ("n/a", None),
        ("NA", None),
        ("null", None),
        (None, None),
        (pd.NA, None),
        (float("inf"), None),
        ("inf", None),
        ("12,5", None),
        ("12%", 12.0),
        ("12 %", 12.0),
        ("(1,234.50)", -1234.5),
        ("$(12)", -12.0),
        ("12.30-", -12.3),
        ("\u2212\u20ac12", -12.0),
        ("1'234.50", 1234.5),
        ("1\u2019234", 1234.0),
        ("1 234", 1234.0),
        ("1\u00a0234\u00a0567.5", 1234567.5),
        ("1\u202f234", 1234.0),
        ("12,34,567", 1234567.0),
        ("USD 12.30", 12.3),
        ("12.30 EUR", 12.3),
        ("R$ 5", 5.0),
        ("\ufeff7", 7.0),
        ("0,125", None),
        ("0 125", None),
        ("0'125", None),
        ("1,23", None),
        ("1,2345", None),
        ("1,234 567", None),
        ("1 (234)", None),
        ("(-12)", None),
        ("$12 EUR", None),
        ("12 kg", None),
        ("1_000", None),
        ("abc", None),
        ([1], None),
    ],
)
def test_numbers_are_repaired_or_null(use_case: UseCase, raw: object, number: float | None) -> None:
    """Numbers as text are read and anything else becomes NaN; a comma not between thousands is
    not guessed at."""
    frame = pd.DataFrame({"fee": pd.Series([raw, 1.0], dtype=object)})
    value = prepare(frame, use_case)["fee"].iloc[0]
    assert value == number if number is not None else np.isnan(value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (" x ", "x"),
        (True, "True"),
        (np.bool_(False), "False"),
        (1.0, "1"),
        ("1.0", "1"),
        (1, "1"),
        (1.5, "1.5"),
        (Decimal("1.0"), "1"),
        ("01", "01"),
        ("007", "007"),
        ("001.0", "001.0"),
        ("1E3", "1E3"),
        ("0x1F", "0x1F"),
        (2**53 + 1, "9007199254740993"),
        ("Zu\u0308rich", "Z\u00fcrich"),
        ("\u200bZ\u00fcrich\u00a0", "Z\u00fcrich"),
        ("New\u00a0York", "New York"),
        ("\u00a0na\u200b", MISSING),
        (None, MISSING),
        (np.nan, MISSING),
        (pd.NaT, MISSING),
        ("", MISSING),
        (" null ", MISSING),
        ("None", MISSING),
    ],
)
def test_categories_have_one_spelling(use_case: UseCase, raw: object, text: str) -> None:
    """The same category is the same text whether it came from CSV, Parquet, SQL or JSON; the
    serving side depends on it."""
    assert prepare(pd.DataFrame({"level": pd.Series([raw], dtype=object)}), use_case)[
        "level"
    ].tolist() == [text]


def test_codes_of_one_number_stay_apart(use_case: UseCase) -> None:
    """01067 and 1067 are two places, whether text came from CSV or Parquet, allowed or not."""
    codes = ["01067", "1067", "007", "07", "7", "1E3", "1000"]
    content = {**CONTENT, "columns": {"level": {"type": "categorical", "allowed": codes}}}
    for known in (use_case, parse_use_case(content, Path("loop.toml"))):
        for values in (pd.Series(codes), pd.Series(codes, dtype="string")):
            assert prepare(pd.DataFrame({"level": values}), known)["level"].tolist() == codes


def test_whole_numbers_beyond_2_to_53_keep_their_last_digit(use_case: UseCase) -> None:
    """64-bit ids are exact as category and as key, also beside nulls."""
    ids = [2**53 + 1, 2**53 + 2, None]
    frame = pd.DataFrame(
        {"level": pd.array(ids, dtype="Int64"), "id": pd.Series(ids, dtype=object)}
    )
    prepared = prepare(frame, use_case)
    assert prepared["level"].tolist() == ["9007199254740993", "9007199254740994", MISSING]
    assert prepared["id"].tolist()[:2] == ["9007199254740993", "9007199254740994"]


def test_contracts_that_name_two_forms_keep_both(use_case: UseCase) -> None:
    """A loop.toml that lists composed and decomposed text still tells them apart; with one form
    listed, both are that one, spelled as it is listed."""
    composed, apart = "Z\u00fcrich", "Zu\u0308rich"
    for allowed, wanted in (
        ([composed, apart], [composed, apart, composed]),
        ([apart], [apart, apart, apart]),
        ([composed], [composed, composed, composed]),
    ):
        content = {**CONTENT, "columns": {"level": {"type": "categorical", "allowed": allowed}}}
        frame = pd.DataFrame({"level": [composed, apart, composed + "\u200b"]})
        prepared = prepare(frame, parse_use_case(content, Path("loop.toml")))
        assert prepared["level"].tolist() == wanted


def test_values_that_hash_alike_stay_apart(use_case: UseCase) -> None:
    """True, 1 and 1.0 are equal in Python; a column that mixes them keeps True apart from 1."""
    frame = pd.DataFrame({"level": pd.Series([True, 1, 1.0, "1"], dtype=object)})
    assert prepare(frame, use_case)["level"].tolist() == ["True", "1", "1", "1"]


def test_allowed_decides_the_spelling(use_case: UseCase) -> None:
    """Case and spaces do not make a new category; 'None' is a category if it is allowed."""
    frame = pd.DataFrame({"plan": ["MONTH-TO-MONTH", " one year", "two year", "", None]})
    assert prepare(frame, use_case)["plan"].tolist() == [
        "Month-to-month",
        "One year",
        "two year",
        MISSING,
        MISSING,
    ]
    content = {**CONTENT, "columns": {"plan": {"type": "categorical", "allowed": ["none", "2.0"]}}}
    named = prepare(
        pd.DataFrame({"plan": ["None", 2, "2.0"]}), parse_use_case(content, Path("loop.toml"))
    )
    assert named["plan"].tolist() == ["none", "2.0", "2.0"]


def test_prepared_columns_and_types(use_case: UseCase) -> None:
    """Features come in the order of loop.toml, then key and target; extra columns are dropped,
    missing features are null, the index is new."""
    frame = (
        good_rows()
        .drop(columns="plan")
        .assign(extra=1, level=pd.Categorical(["a", "b"] * 100))
        .sample(frac=1, random_state=0)
    )
    prepared = prepare(frame, use_case)
    assert list(prepared) == ["fee", "plan", "level", "id", "label"]
    assert {name: str(kind) for name, kind in prepared.dtypes.items()} == {
        "fee": "float64",
        "plan": "object",
        "level": "object",
        "id": "object",
        "label": "object",
    }
    assert set(prepared["plan"]) == {MISSING}
    assert prepared.index.tolist() == list(range(200))
    assert prepared["id"].tolist() == frame["id"].tolist()
    assert list(prepare(frame[["fee"]], use_case)) == ["fee", "plan", "level"]


def test_nullable_and_unsigned_columns(use_case: UseCase) -> None:
    """pandas' nullable types are read like the others."""
    frame = pd.DataFrame(
        {
            "fee": pd.array([1, None], dtype="Int64"),
            "level": pd.array([True, None], dtype="boolean"),
        }
    )
    prepared = prepare(frame, use_case)
    assert prepared["fee"].tolist()[0] == 1.0
    assert np.isnan(prepared["fee"].iloc[1])
    assert prepared["level"].tolist() == ["True", MISSING]


def test_labels_are_classes_or_none(use_case: UseCase) -> None:
    """A label is spelled as its class; null and unknown labels are None, never a class of their
    own."""
    prepared = prepare(
        pd.DataFrame({"fee": [1.0] * 6, "label": ["NO", " yes", None, "", "perhaps", "YES\u00a0"]}),
        use_case,
    )
    assert prepared["label"].tolist() == ["no", "Yes", None, None, None, "Yes"]
    numbers = parse_use_case(
        {**CONTENT, "target": {"column": "label", "classes": ["0", "1"]}}, Path("loop.toml")
    )
    assert prepare(pd.DataFrame({"label": [0.0, 1.0, np.nan]}), numbers)["label"].tolist() == [
        "0",
        "1",
        None,
    ]


def test_preparing_twice_changes_nothing(use_case: UseCase) -> None:
    """prepare is idempotent: what was prepared for training is what serving prepares again."""
    once = prepare(good_rows(), use_case)
    pd.testing.assert_frame_equal(prepare(once, use_case), once)


@pytest.mark.parametrize("column", ["fee", "plan", "level", "id", "label"])
def test_digest_sees_every_cell(use_case: UseCase, column: str) -> None:
    """One changed cell, in any column and any row, changes the digest; an equal copy does not."""
    prepared = prepare(good_rows(), use_case)
    assert digest(prepared.copy(), use_case) == digest(prepared, use_case)
    seen = {digest(prepared, use_case)}
    for row in (0, 100, 199):
        changed = prepared.copy()
        changed.loc[row, column] = (
            0.125 if column == "fee" else None if column == "label" else "other"
        )
        seen.add(digest(changed, use_case))
    assert len(seen) == 4


def test_digest_tells_null_from_its_name(use_case: UseCase) -> None:
    """A missing label and a label spelled 'None' are different content."""
    prepared = prepare(good_rows(), use_case)
    null, text = prepared.copy(), prepared.copy()
    null.loc[0, "label"], text.loc[0, "label"] = None, "None"
    assert digest(null, use_case) != digest(text, use_case)


def test_a_hundred_thousand_rows_take_less_than_a_few_seconds(use_case: UseCase) -> None:
    """Work is done per distinct value or in numpy; a loop over the rows of every column would be
    some ten times slower."""
    frame = pd.concat([good_rows()] * 500, ignore_index=True).assign(fee="1,234.5")
    begun = time.perf_counter()
    prepare(frame, use_case)
    assert time.perf_counter() - begun < 3
