"""Evidently's distances are ours, and no column that it cannot draw costs the page the others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

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
    """What is measured is what Evidently shows, to 1e-9: ties, nulls, constants, tiny and far
    numbers, new categories and lost ones."""
    rng = np.random.default_rng(0)
    reference = pd.DataFrame(
        {
            "fee": np.round(rng.lognormal(size=700), 1),
            "far": 1e9 + rng.normal(size=700),
            "tiny": rng.normal(size=700) * 1e-3,
            "plan": rng.choice(list("abcde"), 700).astype(object),
        }
    )
    current = pd.DataFrame(
        {
            "fee": np.round(rng.lognormal(0.3, size=300), 1),
            "far": 1e9 + rng.normal(0.2, size=300),
            "tiny": np.full(300, 2e-3),
            "plan": rng.choice(list("cdefg"), 300).astype(object),
        }
    )
    current.loc[:40, "fee"] = NAN
    current.loc[:40, "plan"] = None
    found = measure_columns(reference, current, ignore_nulls=frozenset({"fee", "plan"}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its first import
        from evidently.legacy.calculations import stattests
        from evidently.legacy.core import ColumnType
    for name, kind, test in (
        ("fee", ColumnType.Numerical, stattests.wasserstein_stat_test),
        ("far", ColumnType.Numerical, stattests.wasserstein_stat_test),
        ("tiny", ColumnType.Numerical, stattests.wasserstein_stat_test),
        ("plan", ColumnType.Categorical, stattests.jensenshannon_stat_test),
    ):
        theirs = test(reference[name].dropna(), current[name].dropna(), kind, 0.1)
        assert found[name].score == pytest.approx(theirs.drift_score, abs=1e-9)


@pytest.mark.slow
def test_the_page_shows_what_was_measured() -> None:
    """The page names the columns with the distances of the report."""
    reference, current = twenty_columns(800, 0), twenty_columns(300, 1, shift=1.0)
    report, html = measure(reference, current, with_html=True)
    assert html is not None
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert '"column_name": "skewed2"' in html
    assert report.drifted_columns == ("normal0", "plan0")
    assert report.drift_share == pytest.approx(2 / 20)
    assert [column.method for column in report.columns] == ["wasserstein"] * 15 + [
        "jensenshannon"
    ] * 5
    assert all(f"{column.score:.6f}"[:-1] in html for column in report.columns)


def test_the_page_of_a_large_window_tells_the_verdict_on_all_rows() -> None:
    """It draws 50,000 rows and the most frequent categories; with so few, thousands of categories
    would seem to have drifted by noise alone."""
    draw = np.random.default_rng(0)
    towns = np.array([f"town {place}" for place in range(5_000)], dtype=object)
    sides = [pd.DataFrame({"town": towns[draw.integers(0, 5_000, 300_000)]}) for _ in range(2)]
    report, html = measure(*sides, with_html=True)
    (town,) = report.columns
    assert town.drifted is False
    assert html is not None
    assert f"{town.score:.6f}"[:-1] in html
    assert "Dataset Drift is NOT detected" in html
    assert "(others)" in html


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


def test_no_name_or_value_gets_out_of_its_place_on_the_page() -> None:
    """Evidently writes them into a script: a client could close it. The page loads nothing."""
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
    _, html = measure(*sides, with_html=True)
    assert html is not None
    assert all(f"{text}" not in html for text in (*hostile[:2], "n<img", "c</script>"))
    assert "default-src 'none'" in html
