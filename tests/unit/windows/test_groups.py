"""The group column on its way from a window to numbers: read, checked, digested, counted over
windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.errors import SourceError
from closedloop.training.candidates import split_windows
from closedloop.turn.compute import Compute
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import check_contract
from closedloop.windows.groups import number_groups
from closedloop.windows.prepare import digest, prepare
from tests.unit.streams import Frames, make_frame, make_use_case


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_use_case(tmp_path, group="customer")


def rows(*customers: Any) -> pd.DataFrame:
    return make_frame(0, rows=len(customers)).assign(customer=customers)


def numbers(use_case: UseCase, *frames: pd.DataFrame) -> list[int]:
    found = number_groups(use_case, *(prepare(frame, use_case) for frame in frames))
    assert found is not None
    return [int(number) for number in found]


def test_equal_values_are_one_group_and_nulls_are_alone(use_case: UseCase) -> None:
    """Spelled as categories are: 7 and 7.0 are one customer. Rows without a customer, in whatever
    way that is written, are each a group of their own."""
    found = numbers(use_case, rows("a", "b", " a", None, np.nan, "", "NULL", 7, 7.0))
    assert found[0] == found[2] != found[1]
    assert found[7] == found[8]
    assert len(set(found)) == 7


def test_a_group_that_is_in_several_windows_is_one(use_case: UseCase) -> None:
    """Frames are numbered together, whatever else is in them."""
    found = numbers(use_case, rows("a", "b"), rows("b", None, "c"), rows("a"))
    assert found[0] == found[5]
    assert found[1] == found[2]
    assert len(set(found)) == 4


def test_without_groups_there_are_no_numbers(tmp_path: Path) -> None:
    """The column may be there and means nothing."""
    use_case = make_use_case(tmp_path)
    assert number_groups(use_case, prepare(rows("a", "a"), use_case)) is None
    assert "customer" not in prepare(rows("a", "a"), use_case)


@pytest.mark.parametrize("type_", ["numeric", "categorical"])
def test_a_group_may_be_a_feature_too(tmp_path: Path, type_: str) -> None:
    """Then it is read as the feature is, and a null is still a group of its own."""
    columns = {"spend": {"type": "numeric"}, "customer": {"type": type_}}
    use_case = make_use_case(tmp_path, group="customer", columns=columns)
    prepared = prepare(rows(3, 4, 3, None, None), use_case)
    assert list(prepared).count("customer") == 1
    found = numbers(use_case, rows(3, 4, 3, None, None))
    assert found[0] == found[2]
    assert len(set(found)) == 4


def test_the_key_may_be_the_group(tmp_path: Path) -> None:
    """One row of a customer in each window: together they are one group over windows."""
    use_case = make_use_case(tmp_path, key="customer", group="customer")
    assert numbers(use_case, rows("a", "b"), rows("b", "a")) == [0, 1, 1, 0]


def test_a_window_without_the_column_breaks_the_contract(use_case: UseCase) -> None:
    """It is named as what is missing; and whoever measures all the same is told what to do."""
    raw = rows("a", "b").drop(columns="customer")
    prepared = prepare(raw, use_case)
    told = [str(violation) for violation in check_contract(raw, prepared, use_case)]
    assert told == ["customer: missing: wanted a group column of this name, got none"]
    with pytest.raises(SourceError, match="group = customer: wanted a column of this name"):
        number_groups(use_case, prepare(rows("a"), use_case), prepared)


def test_the_digest_sees_another_group(use_case: UseCase, tmp_path: Path) -> None:
    """A decision on other groups is another decision; without group the column is not looked
    at."""
    digests = {digest(prepare(rows(*who), use_case), use_case) for who in ("aab", "abb", "abc")}
    assert len(digests) == 3
    plain = make_use_case(tmp_path)
    assert len({digest(prepare(rows(*who), plain), plain) for who in ("aab", "abb")}) == 1


def test_the_group_is_no_unnamed_column(use_case: UseCase) -> None:
    """The note on columns that loop.toml does not name leaves it out."""
    source: Any = Frames({"w0": rows("a", "b").assign(colour="red")})
    read = Compute().read_window(source, "w0", 0, use_case, None)
    assert read.unnamed_columns == ("colour",)


def test_no_group_is_on_both_sides_of_a_single_window(tmp_path: Path) -> None:
    """The part that judges a first model is drawn by group, also where rows have keys; rows
    without a group are drawn one by one. About the share asked for is held out."""
    frame = make_frame(1, rows=2000)
    frame["customer"] = [f"c{number % 200}" if number % 4 else None for number in range(2000)]
    frame["order"] = range(2000)
    use_case = make_use_case(tmp_path, key="order", group="customer")
    source: Any = Frames({"w0": frame})
    split = split_windows(
        (Compute().read_window(source, "w0", 0, use_case, None).labelled,), use_case
    )
    taught, judged = split.history[0].frame, split.evaluation.frame
    sides = [set(side["customer"]) - {"(missing)"} for side in (taught, judged)]
    assert not sides[0] & sides[1]
    assert all(sides)
    assert len(judged) == pytest.approx(500, abs=150)
    assert all((side["customer"] == "(missing)").any() for side in (taught, judged))
