"""The data contract: what counts as a number, a category and a null, and which windows are
broken."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.contract_check import (
    MISSING,
    check_contract,
    digest,
    measure_statistics,
    prepare,
)

CONTENT: dict[str, Any] = {
    "name": "test",
    "key": "id",
    "source": {"query": "SELECT 1", "windows": "*"},
    "target": {"column": "label", "classes": ["no", "Yes"]},
    "columns": {
        "fee": {"type": "numeric", "minimum": 0, "maximum": 500},
        "plan": {"type": "categorical", "allowed": ["Month-to-month", "One year"]},
        "level": {"type": "categorical"},
    },
}


@pytest.fixture
def use_case() -> UseCase:
    return parse_use_case(CONTENT, Path("loop.toml"))


def good(rows: int = 200) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"u{number}" for number in range(rows)],
            "fee": np.linspace(20, 120, rows),
            "plan": ["Month-to-month", "One year"] * (rows // 2),
            "level": [1, 2] * (rows // 2),
            "label": ["no", "Yes"] * (rows // 2),
        }
    )


def violations(
    frame: pd.DataFrame, use_case: UseCase, statistics: Any = None
) -> dict[str, tuple[str, str, str]]:
    found = check_contract(frame, prepare(frame, use_case), use_case, statistics)
    assert len({one.column for one in found}) == len(found), "one violation a column"
    return {one.column: (one.rule, one.wanted, one.got) for one in found}


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
        ("1_000", None),
        ("abc", None),
        ([1], None),
    ],
)
def test_numbers_are_repaired_or_null(use_case: UseCase, raw: object, number: float | None) -> None:
    """A number in disguise is read, everything else becomes NaN; a comma that is not between
    thousands is not guessed at."""
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


def test_values_that_hash_alike_stay_apart(use_case: UseCase) -> None:
    """True, 1 and 1.0 are equal in Python; a column that mixes them keeps True apart from 1."""
    frame = pd.DataFrame({"level": pd.Series([True, 1, 1.0, "1"], dtype=object)})
    assert prepare(frame, use_case)["level"].tolist() == ["True", "1", "1", "1"]


def test_allowed_decides_the_spelling(use_case: UseCase) -> None:
    """Case and spaces do not make a new category, and a category called 'None' is one when it is
    allowed."""
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
    """Features come in the order of loop.toml, then key and target; extra columns go, absent
    features are null, the index is new."""
    frame = (
        good()
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
        pd.DataFrame({"fee": [1.0] * 5, "label": ["NO", " yes", None, "", "perhaps"]}), use_case
    )
    assert prepared["label"].tolist() == ["no", "Yes", None, None, None]
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
    once = prepare(good(), use_case)
    pd.testing.assert_frame_equal(prepare(once, use_case), once)


def test_a_good_window_keeps_the_contract(use_case: UseCase) -> None:
    """No violation where there is none, with labels, without them, and with them all still null."""
    assert violations(good(), use_case) == {}
    assert violations(good().drop(columns="label"), use_case) == {}
    assert violations(good().assign(label=None), use_case) == {}


def test_every_rule_is_told_in_plain_words(use_case: UseCase) -> None:
    """Each way to break the contract is found and says what was wanted and what came."""
    assert violations(good(0), use_case) == {"(window)": ("empty", "at least one row", "no rows")}
    assert violations(good().drop(columns=["fee", "id"]), use_case) == {
        "fee": ("missing", "a column of this name", "none"),
        "id": ("missing", "a key column of this name", "none"),
    }
    assert violations(good().assign(fee=["x"] * 20 + ["1"] * 180), use_case) == {
        "fee": (
            "type",
            "numbers in at least 99.0 % of the values",
            "10.0 % that are none, such as 'x'",
        )
    }
    assert violations(good().assign(fee=[None] * 20 + [1.0] * 180), use_case)["fee"] == (
        "null",
        "at most 5.0 % null",
        "10.0 % null",
    )
    assert violations(good().assign(plan=["", None] * 10 + ["One year"] * 180), use_case)[
        "plan"
    ] == (
        "null",
        "at most 5.0 % null",
        "10.0 % null",
    )
    cents = good().assign(fee=lambda frame: frame["fee"] * 100)
    assert violations(cents, use_case)["fee"] == (
        "range",
        "0 to 500",
        "100 % of values outside, median 7000",
    )
    other = good().assign(plan=["weekly"] * 4 + ["daily"] * 2 + ["One year"] * 194)
    assert violations(other, use_case)["plan"] == (
        "categories",
        "Month-to-month, One year",
        "3.0 % of values others, such as 'weekly' (4 rows), 'daily' (2 rows)",
    )
    assert violations(
        good().assign(id=["a", "a", "b"] + [f"u{number}" for number in range(197)]), use_case
    )["id"] == ("unique", "every key once", "2 rows share a key, such as 'a'")
    assert violations(good().assign(label=["maybe"] * 10 + ["no"] * 190), use_case)["label"] == (
        "labels",
        "no, Yes",
        "5.0 % of labels others, such as 'maybe' (10 rows)",
    )


def test_few_bad_values_are_forgiven(use_case: UseCase) -> None:
    """Up to max_bad_rate of the values may be wrong: one typo does not stop the loop."""
    frame = good()
    frame["fee"] = frame["fee"].astype(object)
    frame.loc[0, "fee"], frame.loc[1, "plan"], frame.loc[2, "label"] = 9999.0, "weekly", "maybe"
    assert violations(frame, use_case) == {}


def test_a_change_of_unit_within_the_bounds_is_found(use_case: UseCase) -> None:
    """With training statistics, a median far beyond all that was trained on is a violation even
    where the range allows it; a little beyond is drift, on which the loop has to train and not to
    call a person each window."""
    trained = good().assign(fee=lambda frame: frame["fee"] / 10)
    statistics = measure_statistics(prepare(trained, use_case), use_case)
    assert violations(good(), use_case) == {}
    assert violations(good(), use_case, statistics)["fee"] == (
        "unit",
        "a median within 5 times what was seen in training, 2 to 12",
        "median 70",
    )
    assert (
        violations(trained.assign(fee=lambda frame: frame["fee"] / 100), use_case, statistics)[
            "fee"
        ][0]
        == "unit"
    )
    for moved in (trained["fee"] + 20, trained["fee"] / 5, -trained["fee"] + 12):
        assert violations(trained.assign(fee=moved), use_case, statistics) == {}
    constant = measure_statistics(prepare(good().assign(fee=5.0), use_case), use_case)
    assert violations(good(), use_case, constant) == {}


def test_an_all_null_column_breaks_only_the_null_rule() -> None:
    """A column allowed to be null everywhere passes; nothing divides by zero."""
    content = {
        **CONTENT,
        "columns": {"fee": {"type": "numeric", "minimum": 0, "max_null_rate": 1.0}},
    }
    use_case = parse_use_case(content, Path("loop.toml"))
    assert (
        violations(good().assign(fee=None), use_case, {"fee": {"minimum": None, "maximum": None}})
        == {}
    )


def test_statistics_are_plain_json(use_case: UseCase) -> None:
    """Statistics survive JSON unchanged, even those of a column without values."""
    statistics = measure_statistics(
        prepare(good().assign(fee=[None] * 100 + [1.0] * 50 + [3.0] * 50), use_case), use_case
    )
    assert statistics["fee"] == {
        "minimum": 1.0,
        "maximum": 3.0,
        "mean": 2.0,
        "std": 1.0,
        "median": 2.0,
        "null_rate": 0.5,
    }
    assert statistics["level"] == {"shares": {"1": 0.5, "2": 0.5}, "null_rate": 0.0}
    empty = measure_statistics(prepare(good().assign(fee=None), use_case), use_case)
    assert empty["fee"]["median"] is None
    assert json.loads(json.dumps(empty, allow_nan=False)) == empty


@pytest.mark.parametrize("column", ["fee", "plan", "level", "id", "label"])
def test_digest_sees_every_cell(use_case: UseCase, column: str) -> None:
    """One changed cell, in any column and any row, changes the digest; an equal copy does not."""
    prepared = prepare(good(), use_case)
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
    prepared = prepare(good(), use_case)
    null, text = prepared.copy(), prepared.copy()
    null.loc[0, "label"], text.loc[0, "label"] = None, "None"
    assert digest(null, use_case) != digest(text, use_case)


def test_a_hundred_thousand_rows_take_less_than_a_few_seconds(use_case: UseCase) -> None:
    """Work is done per distinct value or in numpy; a loop over the rows of every column would be
    some ten times slower."""
    frame = pd.concat([good()] * 500, ignore_index=True).assign(fee="1,234.5")
    begun = time.perf_counter()
    prepare(frame, use_case)
    assert time.perf_counter() - begun < 3
