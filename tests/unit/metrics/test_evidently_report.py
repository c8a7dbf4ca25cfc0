"""Evidently's distances and page: the same as ours, and no column that fails stops the others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.metrics.drift_limits import measure_jensenshannon, measure_wasserstein
from tests.unit.metrics.drift_windows import (
    NAN,
    measure,
    measure_columns,
    no_warnings,  # noqa: F401
    odd_and_fine,
    twenty_columns,
)


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
    found = measure_columns(reference, current, ignore_nulls=frozenset({"fee"}))
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
    reference, current = twenty_columns(800, 0), twenty_columns(300, 1, shift=1.0)
    with_page, html = measure(reference, current, with_html=True)
    without, nothing = measure(reference, current)
    assert nothing is None
    assert html is not None
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert '"column_name": "skewed2"' in html
    assert with_page == without
    assert with_page.drifted_columns == ("normal0", "plan0")
    assert with_page.drift_share == pytest.approx(2 / 20)
    assert [column.method for column in with_page.columns] == ["wasserstein"] * 15 + [
        "jensenshannon"
    ] * 5


def test_one_column_that_evidently_cannot_draw_costs_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the report fails, every column is still measured, and the page is drawn of those that
    can be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its first import
        from evidently.legacy.calculations import data_drift

    draw = data_drift.get_distribution_for_column

    def refuses_large_values(**given: Any) -> Any:
        if given["column_type"] == "num" and given["reference"].max() > 100:
            raise TypeError("cannot draw this")
        return draw(**given)

    monkeypatch.setattr(data_drift, "get_distribution_for_column", refuses_large_values)
    reference, current = (
        odd_and_fine(300, lambda rng: 500 + rng.normal(size=300), seed) for seed in (0, 1)
    )
    report, html = measure(reference, current, with_html=True)
    assert [column.drifted for column in report.columns] == [False, False]
    assert html is not None
    assert '"column_name": "fine"' in html
    assert '"column_name": "odd"' not in html


def test_one_column_that_evidently_cannot_measure_becomes_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failure is told where the score would be; the other column keeps its verdict."""
    from scipy import stats

    distance = stats.wasserstein_distance

    def refuses_large_values(first: Any, second: Any) -> float:
        if first.max() > 100:
            raise ArithmeticError("no distance today")
        return float(distance(first, second))

    monkeypatch.setattr(stats, "wasserstein_distance", refuses_large_values)
    reference, current = (
        odd_and_fine(300, lambda rng: 500 + rng.normal(size=300), seed) for seed in (0, 1)
    )
    odd, fine = measure(reference, current, with_html=True)[0].columns
    assert (odd.score, odd.note) == (
        None,
        "Evidently could not measure it: ArithmeticError: no distance today",
    )
    assert fine.drifted is False


def test_no_name_or_value_gets_out_of_its_place_on_the_page() -> None:
    """Evidently writes them into a script: a client could close it. The page loads nothing, and
    the verdicts are those without a page."""
    hostile = ["</script><script>alert(1)</script>", "<!--<script>", "a & b", "a &amp; b", "fine"]
    sides = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        sides.append(
            pd.DataFrame(
                {
                    "n<img src=x>": rng.normal(seed, size=300),
                    "c</script><b>": rng.choice(hostile[seed:], 300).astype(object),
                }
            )
        )
    with_page, html = measure(*sides, with_html=True)
    without, _ = measure(*sides)
    assert html is not None
    assert all(f"{text}" not in html for text in (*hostile[:2], "n<img", "c</script>"))
    assert "default-src 'none'" in html
    for shown, bare in zip(with_page.columns, without.columns, strict=True):
        assert (shown.column, shown.drifted) == (bare.column, bare.drifted)
        assert shown.score == pytest.approx(bare.score, abs=1e-9)
