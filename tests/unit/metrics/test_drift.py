"""Drift: Evidently's distances, limits that noise rarely reaches, and no column that stops the
others."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from closedloop.decisions.evidence import ColumnDrift, DriftReport
from closedloop.decisions.policy import DriftPolicy
from closedloop.metrics.drift import (
    NULL_SHARE,
    SAME_SHARE,
    WASSERSTEIN,
    _Comparison,
    _with_limit,
    measure_drift,
    measure_jensenshannon,
    measure_wasserstein,
)

NAN = float("nan")


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """What Evidently and numpy have to say about odd columns must not reach the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _measure(
    reference: pd.DataFrame, current: pd.DataFrame, **changes: Any
) -> tuple[DriftReport, str | None]:
    """Text columns are categorical, the others numeric."""
    texts = [str(name) for name in reference if not pd.api.types.is_numeric_dtype(reference[name])]
    given: dict[str, Any] = {
        "numeric": [str(name) for name in reference if name not in texts],
        "categorical": texts,
        "policy": DriftPolicy(),
        "reference_name": "month_000",
        "current_name": "month_001",
        "seed": 7,
        "with_html": False,
    }
    return measure_drift(reference, current, **{**given, **changes})


def _columns(
    reference: pd.DataFrame, current: pd.DataFrame, **changes: Any
) -> dict[str, ColumnDrift]:
    return {one.column: one for one in _measure(reference, current, **changes)[0].columns}


def _twenty(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Fifteen numeric columns (normal, skewed, counts) and five categorical ones; `shift` moves a
    normal one and a categorical one."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"normal{number}": rng.normal(size=rows) for number in range(9)}
    columns |= {f"skewed{number}": rng.lognormal(size=rows) for number in range(3)}
    columns |= {f"count{number}": rng.poisson(1.5, rows).astype(float) for number in range(3)}
    columns |= {
        f"plan{number}": rng.choice(list("abcdef"), rows).astype(object) for number in range(5)
    }
    columns["normal0"] += shift
    columns["plan0"] = np.where(rng.random(rows) < shift, "f", columns["plan0"]).astype(object)
    return pd.DataFrame(columns)


@pytest.mark.slow
def test_our_distances_are_evidentlys() -> None:
    """What limits are calibrated with is what Evidently measures, to 1e-6: ties, nulls, new
    categories and lost ones."""
    rng = np.random.default_rng(0)
    reference = pd.DataFrame(
        {
            "fee": np.round(rng.lognormal(size=700), 1),
            "plan": rng.choice(list("abcde"), 700).astype(object),
        }
    )
    current = pd.DataFrame(
        {
            "fee": np.round(rng.lognormal(0.3, size=300), 1),
            "plan": rng.choice(list("cdefg"), 300).astype(object),
        }
    )
    current.loc[:40, "fee"] = NAN
    found = _columns(reference, current, ignore_nulls=frozenset({"fee"}))
    values = np.unique(np.r_[reference["fee"], current["fee"].dropna()])
    shares = [
        side["fee"].value_counts(normalize=True).reindex(values, fill_value=0).to_numpy()
        for side in (reference, current)
    ]
    assert found["fee"].score == pytest.approx(measure_wasserstein(values, *shares), abs=1e-6)
    plans = [
        side["plan"].value_counts(normalize=True).reindex(list("abcdefg"), fill_value=0).to_numpy()
        for side in (reference, current)
    ]
    assert found["plan"].score == pytest.approx(float(measure_jensenshannon(*plans)), abs=1e-6)


@pytest.mark.slow
def test_the_report_and_the_bare_distances_agree() -> None:
    """With and without the page the verdicts are the same, and the page names the columns."""
    reference, current = _twenty(800, 0), _twenty(300, 1, shift=1.0)
    with_page, html = _measure(reference, current, with_html=True)
    without, nothing = _measure(reference, current)
    assert nothing is None
    assert html is not None
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert '"column_name": "skewed2"' in html
    assert with_page == without
    assert with_page.drifted_columns == ("normal0", "plan0")
    assert with_page.drift_share == pytest.approx(2 / 20)
    assert [one.method for one in with_page.columns] == ["wasserstein"] * 15 + ["jensenshannon"] * 5


@pytest.mark.parametrize("rows", [2_000, 20_000, 200_000])
def test_the_verdict_does_not_depend_on_the_number_of_rows(rows: int) -> None:
    """The same two distributions, more of them: a real shift is found at every size, none is found
    where there is none."""
    reference = _twenty(rows, 0)
    assert _measure(reference, _twenty(rows, 1))[0].drifted_columns == ()
    shifted = _measure(reference, _twenty(rows, 2, shift=0.4))[0]
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
        _measure(_twenty(reference_rows, 2 * seed), _twenty(rows, 2 * seed + 1), seed=seed)[0]
        for seed in range(8)
    ]
    alarms = [len(report.drifted_columns) for report in reports]
    assert max(alarms) <= 1
    assert sum(alarms) <= 2
    assert sum((one.score or 0) >= 0.1 for report in reports for one in report.columns) > 40


def test_a_small_window_still_shows_a_large_shift() -> None:
    """Limits grow with noise, but not out of reach: 100 rows show a shift of one standard
    deviation."""
    assert _measure(_twenty(5_000, 0), _twenty(100, 1, shift=1.0))[0].drifted_columns == (
        "normal0",
        "plan0",
    )


def test_limits_never_lie_below_the_floor() -> None:
    """With many rows noise is far below `min_distance`, and the limit is that."""
    found = _columns(_twenty(5_000, 0), _twenty(5_000, 1), policy=DriftPolicy(min_distance=0.3))
    assert {one.limit for one in found.values()} == {0.3}


def test_huge_frames_are_measured_on_a_bounded_sample() -> None:
    """With 100 rows a side drawn from 5,000, limits are those of 100 rows, and the report still
    counts the rows it was given."""
    report, _ = _measure(_twenty(5_000, 0), _twenty(5_000, 1), policy=DriftPolicy(sample_rows=100))
    assert min(one.limit or 0 for one in report.columns if one.method == "wasserstein") > 0.25
    assert (report.reference_rows, report.current_rows) == (5_000, 5_000)


def test_limits_from_a_hundred_draws_keep_the_rate_they_are_asked_for() -> None:
    """Distances of a known law, the half-normal: over 300 calibrations the limits are passed no
    more often than 1 in 2,000.

    Without the two standard errors on the variance it is more than 1 in 1,000.
    """
    rng = np.random.default_rng(0)
    noises = [np.abs(rng.normal(size=100)) for _ in range(300)]
    limits = [
        _with_limit(_Comparison("fee", WASSERSTEIN, noise), 0.0005, 0.1).limit for noise in noises
    ]
    assert np.mean([2 * norm.sf(limit) for limit in limits]) <= 0.0005
    assert np.mean(limits) < 1.5 * norm.isf(0.00025)


def test_the_same_seed_gives_the_same_report() -> None:
    """Sampling and calibration are drawn from the seed alone, and a column's limit from no other
    column."""
    reference, current = _twenty(6_000, 0), _twenty(300, 1)
    first = _measure(reference, current)[0]
    assert _measure(reference, current)[0] == first
    assert _measure(reference, current, seed=8)[0] != first
    few = _twenty(300, 3)
    every, alone = (
        _columns(few, current),
        _columns(
            few,
            current,
            numeric=["skewed1"],
            categorical=[],
            policy=DriftPolicy(false_alarm_rate=0.01 / 20),
        ),
    )
    assert alone["skewed1"].limit == pytest.approx(every["skewed1"].limit)


def _rows(count: int, make: Callable[[np.random.Generator], Any], seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "odd": make(np.random.default_rng(seed)),
            "fine": np.random.default_rng(seed + 9).normal(size=count),
        }
    )


def test_more_nulls_are_drift() -> None:
    """The values that are left look the same; that a fifth of them went missing is seen, and the
    method says so."""
    reference, current = (
        _rows(2_000, lambda rng: rng.normal(size=2_000)),
        _rows(2_000, lambda rng: rng.normal(size=2_000), 1),
    )
    assert _columns(reference, current)["odd"].drifted is False
    current.loc[:400, "odd"] = NAN
    odd = _columns(reference, current)["odd"]
    assert (odd.drifted, odd.method) == (True, NULL_SHARE)
    assert odd.score == pytest.approx(
        float(measure_jensenshannon(np.array([0.0, 1.0]), np.array([401 / 2000, 1599 / 2000])))
    )


def test_ignored_nulls_are_no_drift() -> None:
    """Reference rows without an honest prediction are no news; a prediction that moved still is."""
    reference, current = (
        _rows(2_000, lambda rng: rng.normal(size=2_000)),
        _rows(2_000, lambda rng: rng.normal(size=2_000), 1),
    )
    reference.loc[:1_500, "odd"] = NAN
    assert _columns(reference, current)["odd"].drifted is True
    ignoring = {"ignore_nulls": frozenset({"odd"})}
    assert _columns(reference, current, **ignoring)["odd"].drifted is False
    moved = _columns(reference, current.assign(odd=current["odd"] + 1), **ignoring)["odd"]
    assert (moved.drifted, moved.method) == (True, "wasserstein")
    empty = _columns(reference.assign(odd=NAN), current, **ignoring)["odd"]
    assert (empty.score, empty.note) == (None, "no values in the reference")


def test_ignored_nulls_of_a_category_are_no_drift() -> None:
    """The likeliest class, or a label, that most reference rows lack: those rows are left out, and
    a moved mix is still seen."""
    reference, current = _twenty(2_000, 0), _twenty(2_000, 1)
    reference.loc[:1_500, "plan3"] = None
    reference.loc[:1_500, "plan4"] = "(missing)"
    ignoring = {"ignore_nulls": frozenset({"plan3", "plan4"})}
    assert _measure(reference, current)[0].drifted_columns == ("plan3", "plan4")
    report, html = _measure(reference, current, with_html=True, **ignoring)
    assert report.drifted_columns == ()
    assert html is not None
    moved = current.assign(plan3=np.where(np.arange(2_000) < 600, "a", current["plan3"]))
    assert _measure(reference, moved, **ignoring)[0].drifted_columns == ("plan3",)
    empty = _columns(
        reference.assign(plan3=None),
        current,
        **ignoring,
        numeric=["normal1"],
        categorical=["plan3"],
    )["plan3"]
    assert (empty.score, empty.note) == (None, "no values in the reference")


def test_missing_is_a_category() -> None:
    """More rows of '(missing)' in a categorical column are drift like more rows of any other
    category."""
    reference, current = _twenty(2_000, 0), _twenty(2_000, 1)
    current.loc[:600, "plan3"] = "(missing)"
    assert _measure(reference, current)[0].drifted_columns == ("plan3",)


@pytest.mark.parametrize(
    ("before", "now", "drifted", "method"),
    [
        pytest.param(3.0, 3.0, False, SAME_SHARE, id="constant and the same"),
        pytest.param(3.0, 4.0, True, SAME_SHARE, id="another constant"),
        pytest.param(3.0, "normal", True, SAME_SHARE, id="constant that varies now"),
        pytest.param("normal", 3.0, True, "wasserstein", id="stuck"),
        pytest.param(NAN, NAN, None, "none", id="empty on both sides"),
        pytest.param(NAN, "normal", True, NULL_SHARE, id="empty before"),
        pytest.param("normal", NAN, True, NULL_SHARE, id="empty now"),
        pytest.param("normal", np.inf, True, NULL_SHARE, id="infinite now"),
        pytest.param("huge", "huge", None, "none", id="no standard deviation"),
    ],
)
def test_odd_numeric_columns(before: Any, now: Any, drifted: bool | None, method: str) -> None:
    """A column that Evidently would fall over gets a verdict or a note, a finite score, and leaves
    its neighbour alone."""
    kinds: dict[Any, Callable[[np.random.Generator], Any]] = {
        "normal": lambda rng: rng.normal(size=500),
        "huge": lambda rng: rng.normal(size=500) * 1e300,
    }
    reference = _rows(500, kinds.get(before, lambda rng: np.full(500, before)))
    current = _rows(500, kinds.get(now, lambda rng: np.full(500, now)), 1)
    report, html = _measure(reference, current, with_html=True)
    odd, fine = report.columns
    assert (odd.drifted, odd.method) == (drifted, method)
    assert (odd.score is None) == (drifted is None)
    assert odd.score is None or np.isfinite(odd.score)
    assert odd.note or method == "wasserstein"
    assert fine.drifted is False
    assert html is not None
    if before == now == 3.0:
        assert odd.score == 0


def test_a_column_in_tiny_units_is_measured() -> None:
    """Evidently divides by no less than 0.001; a column of millionths that moves by three
    deviations is seen all the same."""
    reference, current = (
        _rows(500, lambda rng: rng.normal(size=500) * 1e-6),
        _rows(500, lambda rng: 3e-6 + rng.normal(size=500) * 1e-6, 1),
    )
    odd = _columns(reference, current)["odd"]
    assert odd.score == pytest.approx(3, abs=0.2)
    assert "units of" in odd.note


def test_a_rare_value_of_a_small_reference_is_not_drift() -> None:
    """1 % nulls that 100 reference rows happened not to show are not an alarm when they turn up."""
    reference, current = (
        _rows(100, lambda rng: rng.normal(size=100)),
        _rows(100, lambda rng: rng.normal(size=100), 1),
    )
    current.loc[:2, "odd"] = NAN
    assert _columns(reference, current)["odd"].drifted is False


def test_keys_are_not_drift() -> None:
    """A column in which every value is new says nothing about drift, and says that it does not."""
    names = iter(range(2_000))
    reference, current = (
        _rows(
            500, lambda rng: np.array([f"id{next(names)}" for _ in range(500)], dtype=object), seed
        )
        for seed in (0, 1)
    )
    odd = _columns(reference, current, with_html=True)["odd"]
    assert odd.drifted is None
    assert "too many categories" in odd.note


def test_absent_columns_and_empty_windows_are_notes() -> None:
    """Nothing to compare is unknown, for the column or for all of them; the share is over what is
    left."""
    reference, current = _twenty(500, 0), _twenty(500, 1)
    report, _ = _measure(reference, current.drop(columns="plan2"))
    plan2 = next(one for one in report.columns if one.column == "plan2")
    assert (plan2.score, plan2.note) == (None, "no such column in the current window")
    assert len(report.columns) == 20
    assert report.drift_share == 0
    for before, now in ((reference, current.iloc[:0]), (reference.iloc[:0], current)):
        report, html = _measure(before, now, with_html=True)
        assert report.drift_share is None
        assert html is None
    assert _measure(reference, current.iloc[:1])[0].columns[0].score is not None


def test_one_column_that_evidently_cannot_draw_costs_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the report fails, every column is still measured, and the page is drawn of those that
    can be."""
    from evidently.legacy.calculations import data_drift

    draw = data_drift.get_distribution_for_column

    def refuses_large_values(**given: Any) -> Any:
        if given["column_type"] == "num" and given["reference"].max() > 100:
            raise TypeError("cannot draw this")
        return draw(**given)

    monkeypatch.setattr(data_drift, "get_distribution_for_column", refuses_large_values)
    reference, current = (
        _rows(300, lambda rng: 500 + rng.normal(size=300), seed) for seed in (0, 1)
    )
    report, html = _measure(reference, current, with_html=True)
    assert [one.drifted for one in report.columns] == [False, False]
    assert html is not None
    assert '"column_name": "fine"' in html
    assert '"column_name": "odd"' not in html


def test_one_column_that_evidently_cannot_measure_becomes_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failure is told where the score would be; the other column keeps its verdict."""
    from scipy import stats

    measure = stats.wasserstein_distance

    def refuses_large_values(first: Any, second: Any) -> float:
        if first.max() > 100:
            raise ArithmeticError("no distance today")
        return float(measure(first, second))

    monkeypatch.setattr(stats, "wasserstein_distance", refuses_large_values)
    reference, current = (
        _rows(300, lambda rng: 500 + rng.normal(size=300), seed) for seed in (0, 1)
    )
    odd, fine = _measure(reference, current, with_html=True)[0].columns
    assert (odd.score, odd.note) == (
        None,
        "Evidently could not measure it: ArithmeticError: no distance today",
    )
    assert fine.drifted is False


@pytest.mark.slow
def test_heavy_libraries_wait_until_they_are_needed() -> None:
    """Importing the senses opens no door: Evidently and LightGBM take seconds and hundreds of
    megabytes."""
    code = (
        "import sys, closedloop.metrics.drift, closedloop.metrics.scores, closedloop.training.recipes, closedloop.windows.order;"
        "sys.exit(' '.join({'evidently', 'lightgbm', 'plotly'} & set(sys.modules)) or 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, ""), (
        "import it inside the function that uses it"
    )
