"""Drift: verdicts that depend neither on the size of the windows nor on chance."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.metrics.drift_limits import calibrate_limit
from tests.unit.metrics.drift_windows import (
    measure,
    measure_columns,
    no_warnings,  # noqa: F401
    twenty_columns,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("rows", [2_000, 20_000, 200_000])
def test_the_verdict_does_not_depend_on_the_number_of_rows(rows: int) -> None:
    """The same two distributions, more of them: a real shift is found at every size, none is found
    where there is none."""
    reference = twenty_columns(rows, 0)
    assert measure(reference, twenty_columns(rows, 1))[0].drifted_columns == ()
    shifted = measure(reference, twenty_columns(rows, 2, shift=0.4))[0]
    assert shifted.drifted_columns == ("normal0", "plan0")
    assert (shifted.reference_rows, shifted.current_rows) == (rows, rows)


@pytest.mark.slow
@pytest.mark.parametrize(("reference_rows", "rows"), [(5_000, 100), (300, 100), (100, 5_000)])
def test_small_windows_do_not_alarm_on_noise(reference_rows: int, rows: int) -> None:
    """Eight undrifted windows against twenty columns: two alarms among the 160 at most, and never
    two in one window.

    With Evidently's fixed 0.1 nearly every one of them would alarm.
    """
    reports = [
        measure(
            twenty_columns(reference_rows, 2 * seed), twenty_columns(rows, 2 * seed + 1), seed=seed
        )[0]
        for seed in range(8)
    ]
    alarms = [len(report.drifted_columns) for report in reports]
    assert max(alarms) <= 1
    assert sum(alarms) <= 2
    assert sum((column.score or 0) >= 0.1 for report in reports for column in report.columns) > 40


def test_a_small_window_still_shows_a_large_shift() -> None:
    """Limits grow with noise, but not out of reach: 100 rows show a shift of one standard
    deviation."""
    assert measure(twenty_columns(5_000, 0), twenty_columns(100, 1, shift=1.0))[
        0
    ].drifted_columns == (
        "normal0",
        "plan0",
    )


def test_limits_never_lie_below_the_floor() -> None:
    """With many rows noise is far below `min_distance`, and the limit is that."""
    found = measure_columns(
        twenty_columns(5_000, 0), twenty_columns(5_000, 1), policy=DriftPolicy(min_distance=0.3)
    )
    assert {column.limit for column in found.values()} == {0.3}


def test_distances_are_those_of_all_rows() -> None:
    """However few rows limits are drawn with: a shift of which a sample could say nothing sure is
    found, or found to be below the limit, as with all rows."""
    reference = twenty_columns(60_000, 0)
    for shift, drifted in ((0.11, ("normal0",)), (0.09, ())):
        current = twenty_columns(40_000, 1, shift=shift)
        every, few = (
            measure(reference, current, policy=DriftPolicy(sample_rows=rows))[0]
            for rows in (60_000, 1_000)
        )
        assert every.drifted_columns == few.drifted_columns == drifted
        assert [column.score for column in few.columns] == [
            column.score for column in every.columns
        ]
        assert (few.reference_rows, few.current_rows) == (60_000, 40_000)


def test_limits_drawn_with_few_rows_are_those_of_many() -> None:
    """Noise shrinks with the square root of the rows, so a tenth of them gives the same limits to a
    few percent, from the reference or from both sides; without that they would be three times as
    large."""
    reference, current = twenty_columns(4_000, 0), twenty_columns(4_000, 1)
    for both in (False, True):
        every, few = (
            measure_columns(
                reference,
                current,
                limits_from_both=both,
                policy=DriftPolicy(min_distance=0.001, sample_rows=rows),
            )
            for rows in (4_000, 400)
        )
        ratios = [(few[name].limit or 0) / (every[name].limit or 1) for name in every]
        assert max(ratios) < 2.5
        assert 0.9 < np.mean(ratios) < 1.1


def test_a_rare_value_is_no_drift_of_a_small_window() -> None:
    """Noise is drawn from all rows of a large reference: one row in ten thousand of a flag, which
    few rows would lack, is an ordinary row of a small window."""
    draw = np.random.default_rng(3)

    def flags(rows: int) -> pd.DataFrame:
        columns = {f"flag{place}": draw.random(rows) < 1e-4 for place in range(20)}
        return pd.DataFrame(columns).astype(float)

    reference = flags(100_000)
    alarms = [bool(measure(reference, flags(300))[0].drifted_columns) for _ in range(15)]
    assert sum(alarms) <= 1


def test_the_rarest_of_very_many_categories_count_as_one() -> None:
    """With more than 50,000 categories; the note says so, and all rows are measured: a third that
    moves to one category is still seen, and none is where nothing moved."""
    draw = np.random.default_rng(0)
    towns = np.array([f"town {place}" for place in range(60_000)], dtype=object)
    before, now = (pd.DataFrame({"town": towns[draw.integers(0, 60_000, 600_000)]}) for _ in "ab")
    before.loc[0, "town"] = "(rest)"
    found = measure_columns(before, now)["town"]
    assert found.note.endswith("categories: the rarest count as one")
    assert found.drifted is False
    now.loc[:200_000, "town"] = "town 1"
    assert measure_columns(before, now)["town"].drifted is True
    without = now.assign(town=None)
    without.loc[0, "town"] = "town 1"
    alone = measure_columns(before, without, ignore_nulls=frozenset({"town"}))["town"]
    assert alone.score is None or np.isfinite(alone.score)


def test_limits_from_a_hundred_draws_keep_the_rate_they_are_asked_for() -> None:
    """Distances of a known law, the half-normal: over 300 calibrations the limits are passed no
    more often than 1 in 2,000.

    Without the two standard errors on the variance it is more than 1 in 1,000.
    """
    rng = np.random.default_rng(0)
    noises = [np.abs(rng.normal(size=100)) for _ in range(300)]
    limits = [calibrate_limit(noise, 0.0005, 0.1) for noise in noises]
    assert np.mean([2 * norm.sf(limit) for limit in limits]) <= 0.0005
    assert np.mean(limits) < 1.5 * norm.isf(0.00025)


def test_the_same_seed_gives_the_same_report() -> None:
    """Sampling and calibration are drawn from the seed alone, and a column's limit from no other
    column."""
    reference, current = twenty_columns(6_000, 0), twenty_columns(300, 1)
    first = measure(reference, current)[0]
    assert measure(reference, current)[0] == first
    assert measure(reference, current, seed=8)[0] != first
    few = twenty_columns(300, 3)
    every, alone = (
        measure_columns(few, current),
        measure_columns(
            few,
            current,
            numeric=["skewed1"],
            categorical=[],
            policy=DriftPolicy(false_alarm_rate=0.01 / 20),
        ),
    )
    assert alone["skewed1"].limit == pytest.approx(every["skewed1"].limit)


@pytest.mark.slow
def test_heavy_libraries_wait_until_they_are_needed() -> None:
    """Importing the measuring modules loads neither Evidently nor LightGBM, which take seconds and
    hundreds of megabytes."""
    code = (
        "import sys, closedloop.metrics.drift, closedloop.metrics.comparison;"
        "import closedloop.training.recipes, closedloop.windows.order;"
        "sys.exit(' '.join({'evidently', 'lightgbm', 'plotly'} & set(sys.modules)) or 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, ""), (
        "import it inside the function that uses it"
    )
