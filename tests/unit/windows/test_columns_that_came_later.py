"""A column that older windows lack, or that any window may lack, counts as null there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.contract_check import check_contract
from closedloop.windows.order import columns_not_yet
from closedloop.windows.prepare import prepare
from tests.unit.windows.conftest import CONTENT, good_rows

MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04")


def with_columns(**columns: Any) -> UseCase:
    return parse_use_case(
        {**CONTENT, "columns": {**CONTENT["columns"], **columns}}, Path("loop.toml")
    )


def broken(frame: pd.DataFrame, use_case: UseCase, window: str) -> list[tuple[str, str]]:
    not_yet = columns_not_yet(use_case.columns, MONTHS, window)
    found = check_contract(frame, prepare(frame, use_case), use_case, not_yet=not_yet)
    return [(violation.column, violation.rule) for violation in found]


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_older_windows_count_a_later_column_as_null(kind: str) -> None:
    """Before `since` the column may be missing, null or partly there, but never wrong; from then on
    it keeps its contract."""
    wrong = {"maximum": 5} if kind == "numeric" else {"allowed": ["3"]}
    use_case = with_columns(coupon={"type": kind, "since": "2026-03", **wrong})
    without, null = good_rows(), good_rows().assign(coupon=None)
    partly = good_rows().assign(coupon=[3, None] * 100)
    for window in MONTHS[:2]:
        assert [broken(frame, use_case, window) for frame in (without, null, partly)] == [[]] * 3
        [(column, _)] = broken(good_rows().assign(coupon=9), use_case, window)
        assert column == "coupon"
    for window in MONTHS[2:]:
        assert broken(without, use_case, window) == [("coupon", "missing")]
        assert broken(null, use_case, window) == [("coupon", "null")]
        assert broken(partly, use_case, window) == [("coupon", "null")]
    assert prepare(without, use_case).equals(prepare(null, use_case))


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_any_window_may_lack_an_optional_column(kind: str) -> None:
    """It may be missing or null as a whole; where it has values, its limit of nulls holds."""
    use_case = with_columns(coupon={"type": kind, "optional": True})
    for window in MONTHS:
        assert broken(good_rows(), use_case, window) == []
        assert broken(good_rows().assign(coupon=None), use_case, window) == []
        partly = good_rows().assign(coupon=[3, None] * 100)
        assert broken(partly, use_case, window) == [("coupon", "null")]
    assert use_case.required == ("fee", "plan", "level")


@pytest.mark.parametrize(
    ("since", "names", "expected"),
    [
        ("2026-03", MONTHS, ["2026-01", "2026-02"]),
        ("w10", ("w2", "w9", "w10", "w11"), ["w2", "w9"]),
        ("2026-03", ("2026-01", "2026-02", "2026-04"), ["2026-01", "2026-02"]),
        ("2025-12", MONTHS, []),
        ("2027-01", MONTHS, list(MONTHS)),
        ("b", ("c", "b", "a"), ["c"]),
    ],
)
def test_the_order_of_the_source_says_what_is_older(
    since: str, names: tuple[str, ...], expected: list[str]
) -> None:
    """Numbers count as numbers, the order of the windows is the source's, and a first window that
    is not there has its place by its name."""
    columns = with_columns(coupon={"type": "numeric", "since": since}).columns
    assert [name for name in names if columns_not_yet(columns, names, name)] == expected


def test_both_words_leave_the_fingerprint_of_older_files_alone() -> None:
    """A file without them keeps its fingerprint; with one of them it has another."""
    plain, later, optional = (
        with_columns(coupon={"type": "numeric", **more}).fingerprint
        for more in ({}, {"since": "2026-03"}, {"optional": True})
    )
    spelled = with_columns(coupon={"type": "numeric", "optional": False}).fingerprint
    assert plain == spelled
    assert len({plain, later, optional}) == 3
