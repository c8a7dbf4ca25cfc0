"""Kept distributions: small, whole, and readable long after the rows are gone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from closedloop.turn.distributions import (
    MOST_BINS,
    MOST_CATEGORIES,
    MOST_COLUMNS,
    Distribution,
    read_distributions,
    summarise,
    write_distributions,
)


def summarise_column(reference: list[object], current: list[object], number: bool) -> Distribution:
    before, now = (pd.DataFrame({"x": pd.Series(side)}) for side in (reference, current))
    found = summarise(before, now, ["x"], ["x"] if number else [], ("version 1", "w2"))
    assert read_distributions(write_distributions(found)) == found
    return found.columns[0]


def test_every_value_of_a_number_is_in_one_bin_and_what_is_none_is_missing() -> None:
    """Counts and missing rows add up to the rows of a side, with outliers in the end bins."""
    draw = np.random.default_rng(1)
    before = [*draw.normal(0, 1, 500), np.nan, np.inf]
    now = [*draw.normal(3, 1, 200), 1e300, -1e300, None]
    found = summarise_column(before, now, True)
    assert len(found.edges) + 1 == len(found.reference.counts) <= MOST_BINS
    assert (found.reference.missing, found.current.missing) == (2, 1)
    for side in (found.reference, found.current):
        assert sum(side.counts) + side.missing == side.rows
        assert sum(side.shares) == pytest.approx(1)
    assert found.current.counts[0] >= 1
    assert found.current.counts[-1] > found.reference.counts[-1]


@pytest.mark.parametrize(
    ("before", "now"),
    [([5.0, 5.0], [5.0, 7.0]), ([0, 1, 2, 2], [1, 1]), ([], [1.0]), ([None], [None])],
)
def test_few_or_no_different_numbers_are_no_special_case(before: list, now: list) -> None:
    """A constant, small whole numbers and empty sides have bins that hold every value."""
    found = summarise_column(before, now, True)
    assert sum(found.reference.counts) == len([value for value in before if value is not None])
    assert sum(found.current.counts) == len([value for value in now if value is not None])


def test_rare_categories_are_counted_together_and_new_ones_are_told() -> None:
    """At most MOST_CATEGORIES bars and the rest; what the reference lacks is named and counted."""
    before = [f"c{number}" for number in range(100) for _ in range(100 - number)]
    found = summarise_column([*before, None], ["c0"] * 50 + ["brand new"] * 49 + [None], False)
    assert len(found.categories) == MOST_CATEGORIES
    assert len(found.reference.counts) == MOST_CATEGORIES + 1
    assert sum(found.reference.counts) == len(before)
    assert "brand new" in found.categories
    assert (found.new_rows, found.new_categories, found.new_share) == (49, ("brand new",), 0.49)
    assert found.current.missing_share == 0.01


def test_what_is_kept_is_bounded_whatever_the_table_looks_like() -> None:
    """Names are cut, further columns are counted, and a file stays under half a megabyte."""
    hostile = {f"c{number}": ["</script>" + "x" * 10_000] * 3 for number in range(MOST_COLUMNS + 7)}
    frame = pd.DataFrame(hostile)
    found = summarise(frame, frame, list(frame), [], ("version 1", "w"))
    assert (len(found.columns), found.left_out) == (MOST_COLUMNS, 7)
    text = write_distributions(found)
    assert len(text) < 500_000
    assert all(len(column.categories[0]) <= 200 for column in read_distributions(text).columns)


def test_a_file_that_somebody_changed_is_refused() -> None:
    """What is read back has the shape that was written, or it is no distribution."""
    with pytest.raises(ValueError, match="columns"):
        read_distributions(json.dumps({"reference": "a", "current": "b"}))
