"""The data contract: which windows are broken, and how each violation is described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.contract_check import check_contract, measure_statistics
from closedloop.windows.prepare import prepare
from tests.unit.windows.conftest import CONTENT, good_rows


def violations(
    frame: pd.DataFrame, use_case: UseCase, statistics: Any = None
) -> dict[str, tuple[str, str, str]]:
    found = check_contract(frame, prepare(frame, use_case), use_case, statistics)
    by_column = {broken.column: (broken.rule, broken.wanted, broken.got) for broken in found}
    assert len(by_column) == len(found), "at most one violation per column"
    return by_column


def test_a_good_window_keeps_the_contract(use_case: UseCase) -> None:
    """A good window has no violation: with labels, without them, and while all are null."""
    assert violations(good_rows(), use_case) == {}
    assert violations(good_rows().drop(columns="label"), use_case) == {}
    assert violations(good_rows().assign(label=None), use_case) == {}


def test_every_violation_is_described(use_case: UseCase) -> None:
    """Each way to break the contract is found and says what was wanted and what was there."""
    assert violations(good_rows(0), use_case) == {
        "(window)": ("empty", "at least one row", "no rows")
    }
    assert violations(good_rows().drop(columns=["fee", "id"]), use_case) == {
        "fee": ("missing", "a column of this name", "none"),
        "id": ("missing", "a key column of this name", "none"),
    }
    assert violations(good_rows().assign(fee=["x"] * 20 + ["1"] * 180), use_case) == {
        "fee": (
            "type",
            "numbers in at least 99.0 % of the values",
            "10.0 % not numbers, such as 'x'",
        )
    }
    assert violations(good_rows().assign(fee=[None] * 20 + [1.0] * 180), use_case)["fee"] == (
        "null",
        "at most 5.0 % null",
        "10.0 % null",
    )
    assert violations(good_rows().assign(plan=["", None] * 10 + ["One year"] * 180), use_case)[
        "plan"
    ] == (
        "null",
        "at most 5.0 % null",
        "10.0 % null",
    )
    cents = good_rows().assign(fee=lambda frame: frame["fee"] * 100)
    assert violations(cents, use_case)["fee"] == (
        "range",
        "0 to 500",
        "100 % of values outside, median 7000",
    )
    other = good_rows().assign(plan=["weekly"] * 4 + ["daily"] * 2 + ["One year"] * 194)
    assert violations(other, use_case)["plan"] == (
        "categories",
        "Month-to-month, One year",
        "3.0 % other values, such as 'weekly' (4 rows), 'daily' (2 rows)",
    )
    assert violations(
        good_rows().assign(id=["a", "a", "b"] + [f"u{number}" for number in range(197)]), use_case
    )["id"] == ("unique", "every key once", "2 rows share a key, such as 'a'")
    assert violations(good_rows().assign(label=["maybe"] * 10 + ["no"] * 190), use_case)[
        "label"
    ] == (
        "labels",
        "no, Yes",
        "5.0 % other labels, such as 'maybe' (10 rows): a new class is added with "
        'classes = ["no", "Yes", "maybe"] under [target], then train again',
    )


def test_a_few_bad_values_are_accepted(use_case: UseCase) -> None:
    """Up to max_bad_rate of the values may be wrong: one typo does not stop the loop."""
    frame = good_rows()
    frame["fee"] = frame["fee"].astype(object)
    frame.loc[0, "fee"], frame.loc[1, "plan"], frame.loc[2, "label"] = 9999.0, "weekly", "maybe"
    assert violations(frame, use_case) == {}


@pytest.mark.parametrize(
    "nothing",
    ["?", " - ", "--", ".", "...", "\u2014", "Unknown", "n.a.", "k. A.", "#DIV/0!", "(blank)"],
)
def test_signs_for_no_number_are_nulls(use_case: UseCase, nothing: str) -> None:
    """'?' and the like among numbers are nulls, not numbers that cannot be read: only their rate
    can break a window."""
    rows = good_rows().astype({"fee": object})
    rows.loc[:5, "fee"] = nothing
    assert check_contract(rows, prepare(rows, use_case), use_case) == ()
    rows.loc[:19, "fee"] = nothing
    (broken,) = check_contract(rows, prepare(rows, use_case), use_case)
    assert (broken.rule, broken.got) == ("null", "10.0 % null")
    rows.loc[:19, "fee"] = "many"
    (broken,) = check_contract(rows, prepare(rows, use_case), use_case)
    assert broken.rule == "type"


def test_a_change_of_unit_within_the_bounds_is_found(use_case: UseCase) -> None:
    """With training statistics, a median far outside the training range is a violation even where
    the contract allows it. A little outside is drift: the loop should retrain, not escalate every
    window."""
    trained = good_rows().assign(fee=lambda frame: frame["fee"] / 10)
    statistics = measure_statistics(prepare(trained, use_case), use_case)
    assert violations(good_rows(), use_case) == {}
    assert violations(good_rows(), use_case, statistics)["fee"] == (
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
    constant = measure_statistics(prepare(good_rows().assign(fee=5.0), use_case), use_case)
    assert violations(good_rows(), use_case, constant) == {}


def test_an_all_null_column_breaks_only_the_null_rule() -> None:
    """A column allowed to be null everywhere passes; nothing divides by zero."""
    content = {
        **CONTENT,
        "columns": {"fee": {"type": "numeric", "minimum": 0, "max_null_rate": 1.0}},
    }
    use_case = parse_use_case(content, Path("loop.toml"))
    assert (
        violations(
            good_rows().assign(fee=None), use_case, {"fee": {"minimum": None, "maximum": None}}
        )
        == {}
    )


def test_statistics_are_plain_json(use_case: UseCase) -> None:
    """Statistics survive JSON unchanged, even those of a column without values."""
    statistics = measure_statistics(
        prepare(good_rows().assign(fee=[None] * 100 + [1.0] * 50 + [3.0] * 50), use_case), use_case
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
    empty = measure_statistics(prepare(good_rows().assign(fee=None), use_case), use_case)
    assert empty["fee"]["median"] is None
    assert json.loads(json.dumps(empty, allow_nan=False)) == empty
