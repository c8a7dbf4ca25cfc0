"""Nulls, constants, keys and absent columns: each gets a verdict or a note, and stops no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from closedloop.metrics.drift_comparisons import NULL_SHARE, SAME_SHARE
from closedloop.metrics.drift_limits import measure_jensenshannon
from tests.unit.metrics.drift_windows import (
    NAN,
    measure,
    measure_columns,
    no_warnings,  # noqa: F401
    odd_and_fine,
    twenty_columns,
)

pytestmark = pytest.mark.slow


def test_more_nulls_are_drift() -> None:
    """The values that are left look the same; that a fifth of them went missing is seen, and the
    method says so."""
    reference, current = (
        odd_and_fine(2_000, lambda rng: rng.normal(size=2_000)),
        odd_and_fine(2_000, lambda rng: rng.normal(size=2_000), 1),
    )
    assert measure_columns(reference, current)["odd"].drifted is False
    current.loc[:400, "odd"] = NAN
    odd = measure_columns(reference, current)["odd"]
    assert (odd.drifted, odd.method) == (True, NULL_SHARE)
    assert odd.score == pytest.approx(
        float(measure_jensenshannon(np.array([0.0, 1.0]), np.array([401 / 2000, 1599 / 2000])))
    )


def test_ignored_nulls_are_no_drift() -> None:
    """Reference rows without an honest prediction are no news; a prediction that moved still is."""
    reference, current = (
        odd_and_fine(2_000, lambda rng: rng.normal(size=2_000)),
        odd_and_fine(2_000, lambda rng: rng.normal(size=2_000), 1),
    )
    reference.loc[:1_500, "odd"] = NAN
    assert measure_columns(reference, current)["odd"].drifted is True
    ignoring = {"ignore_nulls": frozenset({"odd"})}
    assert measure_columns(reference, current, **ignoring)["odd"].drifted is False
    moved = measure_columns(reference, current.assign(odd=current["odd"] + 1), **ignoring)["odd"]
    assert (moved.drifted, moved.method) == (True, "wasserstein")
    empty = measure_columns(reference.assign(odd=NAN), current, **ignoring)["odd"]
    assert (empty.score, empty.note) == (None, "no values in the reference")


def test_ignored_nulls_of_a_category_are_no_drift() -> None:
    """The likeliest class, or a label, that most reference rows lack: those rows are left out, and
    a moved mix is still seen."""
    reference, current = twenty_columns(2_000, 0), twenty_columns(2_000, 1)
    reference.loc[:1_500, "plan3"] = None
    reference.loc[:1_500, "plan4"] = "(missing)"
    ignoring = {"ignore_nulls": frozenset({"plan3", "plan4"})}
    assert measure(reference, current)[0].drifted_columns == ("plan3", "plan4")
    report, html = measure(reference, current, with_html=True, **ignoring)
    assert report.drifted_columns == ()
    assert html is not None
    moved = current.assign(plan3=np.where(np.arange(2_000) < 600, "a", current["plan3"]))
    assert measure(reference, moved, **ignoring)[0].drifted_columns == ("plan3",)
    empty = measure_columns(
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
    reference, current = twenty_columns(2_000, 0), twenty_columns(2_000, 1)
    current.loc[:600, "plan3"] = "(missing)"
    assert measure(reference, current)[0].drifted_columns == ("plan3",)


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
    reference = odd_and_fine(500, kinds.get(before, lambda rng: np.full(500, before)))
    current = odd_and_fine(500, kinds.get(now, lambda rng: np.full(500, now)), 1)
    report, html = measure(reference, current, with_html=True)
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
        odd_and_fine(500, lambda rng: rng.normal(size=500) * 1e-6),
        odd_and_fine(500, lambda rng: 3e-6 + rng.normal(size=500) * 1e-6, 1),
    )
    odd = measure_columns(reference, current)["odd"]
    assert odd.score == pytest.approx(3, abs=0.2)
    assert "units of" in odd.note


def test_a_rare_value_of_a_small_reference_is_not_drift() -> None:
    """1 % nulls that 100 reference rows happened not to show are not an alarm when they turn up."""
    reference, current = (
        odd_and_fine(100, lambda rng: rng.normal(size=100)),
        odd_and_fine(100, lambda rng: rng.normal(size=100), 1),
    )
    current.loc[:2, "odd"] = NAN
    assert measure_columns(reference, current)["odd"].drifted is False


def test_keys_are_not_drift() -> None:
    """A column in which every value is new says nothing about drift, and says that it does not."""
    names = iter(range(2_000))
    reference, current = (
        odd_and_fine(
            500, lambda rng: np.array([f"id{next(names)}" for _ in range(500)], dtype=object), seed
        )
        for seed in (0, 1)
    )
    odd = measure_columns(reference, current, with_html=True)["odd"]
    assert odd.drifted is None
    assert "too many categories" in odd.note


def test_absent_columns_and_empty_windows_are_notes() -> None:
    """Nothing to compare is unknown, for the column or for all of them; the share is over what is
    left."""
    reference, current = twenty_columns(500, 0), twenty_columns(500, 1)
    report, _ = measure(reference, current.drop(columns="plan2"))
    plan2 = next(column for column in report.columns if column.column == "plan2")
    assert (plan2.score, plan2.note) == (None, "no such column in the current window")
    assert len(report.columns) == 20
    assert report.drift_share == 0
    for before, now in ((reference, current.iloc[:0]), (reference.iloc[:0], current)):
        report, html = measure(before, now, with_html=True)
        assert report.drift_share is None
        assert html is None
    assert measure(reference, current.iloc[:1])[0].columns[0].score is not None
