"""Limits for a reference of one window are drawn from the rows of both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.unit.metrics.drift_windows import (
    measure,
    measure_columns,
    no_warnings,  # noqa: F401
    twenty_columns,
)

pytestmark = pytest.mark.slow


def heavy(seed: int, rows: int = 300) -> pd.DataFrame:
    """Ordinary values, and in every second window one that is hundreds of times as large."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=rows)
    values[0] = 400.0 if seed % 2 else 0.0
    return pd.DataFrame({"price": values})


def test_a_rare_value_that_the_reference_has_not_drawn_is_no_drift() -> None:
    """One large value among 300 rows: limits of the reference alone call it drift, and those of
    both sides do not; without it both are quiet."""
    for current, alone in ((heavy(1), True), (heavy(2), False)):
        for both in (False, True):
            found = measure_columns(heavy(0), current, limits_from_both=both)["price"]
            assert found.drifted == (alone and not both)


def test_a_rare_category_that_the_reference_has_not_drawn_is_no_drift() -> None:
    """Limits of both sides know it, so they are higher than those of the reference alone."""
    before = pd.DataFrame({"plan": ["a", "b"] * 50})
    now = pd.DataFrame({"plan": ["a", "b"] * 48 + ["c", "d", "e", "f"]})
    limits = [
        measure_columns(before, now, limits_from_both=both)["plan"].limit for both in (False, True)
    ]
    assert (limits[0] or 0.0) < (limits[1] or 0.0)


@pytest.mark.parametrize("rows", [300, 2_000])
def test_a_shift_is_found_as_before(rows: int) -> None:
    """Drawing from both sides hides no shift of half a standard deviation."""
    reference, current = twenty_columns(rows, 0), twenty_columns(rows, 2, shift=0.5)
    for both in (False, True):
        report, _ = measure(reference, current, limits_from_both=both)
        assert report.drifted_columns == ("normal0", "plan0")


def test_rows_in_another_unit_are_found() -> None:
    """One in twenty values a thousand times too large is drift, not a rare value."""
    current = twenty_columns(300, 1)
    current.loc[:14, "normal3"] *= 1_000
    report, _ = measure(twenty_columns(300, 0), current, limits_from_both=True)
    assert report.drifted_columns == ("normal3",)


def test_an_undrifted_window_is_quiet() -> None:
    """Six pairs of small windows against each other, twenty columns each: one alarm at most."""
    alarms = [
        len(
            measure(
                twenty_columns(300, 2 * seed),
                twenty_columns(300, 2 * seed + 1),
                limits_from_both=True,
            )[0].drifted_columns
        )
        for seed in range(6)
    ]
    assert sum(alarms) <= 1
