"""The AUC of a column alone: a leak is found whatever its shape, an honest column is not one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.decisions.single_column import ColumnAuc, find_leaks
from closedloop.metrics.single_column import measure_single_columns
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.prepare import prepare

LIMIT = 0.99
CLASSES = ("low", "middle", "high")


def measure(folder: Path, values: Any, labels: np.ndarray, **column: Any) -> tuple[ColumnAuc, ...]:
    """Of a column `x` with these values, and one of noise beside it."""
    classes = CLASSES[: int(labels.max()) + 1]
    use_case = parse_use_case(
        {
            "name": "shop",
            "target": {"column": "y", "classes": list(classes)},
            "source": {"windows": "*.csv"},
            "columns": {"x": column, "noise": {"type": "numeric"}},
        },
        folder / "loop.toml",
    )
    noise = np.random.default_rng(9).normal(size=len(labels))
    prepared = prepare(pd.DataFrame({"x": values, "noise": noise}), use_case)
    return measure_single_columns(prepared, labels, use_case)


DRAW = np.random.default_rng(3)
LABELS = DRAW.integers(0, 2, 400)
RARE = (DRAW.random(1000) < 0.05).astype(int)
THREE = DRAW.integers(0, 3, 600)
SIZES = DRAW.lognormal(3, 1, 1000)
NUMERIC, CATEGORICAL = {"type": "numeric"}, {"type": "categorical"}


@pytest.mark.parametrize(
    ("values", "labels", "column", "by_nulls"),
    [
        pytest.param(LABELS * 1.0, LABELS, NUMERIC, False, id="the target as a number"),
        pytest.param(1 - LABELS, LABELS, NUMERIC, False, id="the other way round"),
        pytest.param(np.where(LABELS, "back", "kept"), LABELS, CATEGORICAL, False, id="a status"),
        pytest.param(
            np.where(LABELS, DRAW.choice(list("abcd"), 400), DRAW.choice(list("efgh"), 400)),
            LABELS,
            CATEGORICAL,
            False,
            id="categories of one class each",
        ),
        pytest.param(
            np.where(LABELS, SIZES[:400], np.nan), LABELS, NUMERIC, True, id="null for one class"
        ),
        pytest.param(
            np.where(LABELS, None, DRAW.choice(["a", "b"], 400)),
            LABELS,
            CATEGORICAL,
            True,
            id="a category that is null for one class",
        ),
        pytest.param(np.where(LABELS, SIZES[:400], 0), LABELS, NUMERIC, False, id="0 for one"),
        pytest.param(
            np.where(LABELS, DRAW.choice([-1, 1], 400) * (1 + SIZES[:400]), 0.5),
            LABELS,
            NUMERIC,
            False,
            id="one class in the middle",
        ),
        pytest.param(np.where(RARE, SIZES, np.nan), RARE, NUMERIC, True, id="a rare class"),
        pytest.param(THREE * 1.0, THREE, NUMERIC, False, id="the code of three classes"),
    ],
)
def test_a_column_that_tells_the_target_is_found(
    tmp_path: Path, values: Any, labels: np.ndarray, column: Any, by_nulls: bool
) -> None:
    """It is the first of the list with an AUC of 1, says whether its nulls tell it, and is a leak
    unless a person says that it is known before the target."""
    for known in (False, True):
        found = measure(tmp_path, values, labels, **column, known_before_target=known)
        assert found[0].auc == pytest.approx(1.0, abs=0.006)
        assert found[0] == ColumnAuc("x", found[0].auc, len(labels), by_nulls, known)
        assert len(find_leaks(found, LIMIT)) == (not known)
    assert abs(found[1].auc - 0.5) < 0.1


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        pytest.param(LABELS * 2.7 + DRAW.normal(size=400), NUMERIC, 0.97, id="a strong number"),
        pytest.param(
            np.where(DRAW.random(400) < 0.1, 1 - LABELS, LABELS),
            CATEGORICAL,
            0.9,
            id="a category that is right nine times of ten",
        ),
        pytest.param([f"id {row}" for row in range(400)], CATEGORICAL, 0.5, id="a name a row"),
        pytest.param(np.ones(400), NUMERIC, 0.5, id="a constant"),
    ],
)
def test_an_honest_column_is_no_leak(
    tmp_path: Path, values: Any, column: Any, expected: float
) -> None:
    """Its AUC is what it is worth on rows that it was not learnt on."""
    found = {each.column: each.auc for each in measure(tmp_path, values, LABELS, **column)}
    assert found["x"] == pytest.approx(expected, abs=0.025)
    assert found["x"] < LIMIT


def test_few_rows_of_a_class_tell_nothing(tmp_path: Path) -> None:
    """With 29 rows of a class nothing is said, because few rows separate by luck."""
    labels = np.r_[np.zeros(200, dtype=int), np.ones(29, dtype=int)]
    assert measure(tmp_path, labels, labels, **NUMERIC) == ()


def test_many_rows_are_measured_on_a_sample(tmp_path: Path) -> None:
    """A table of any size costs the same."""
    labels = np.random.default_rng(0).integers(0, 2, 50_000)
    assert measure(tmp_path, labels, labels, **NUMERIC)[0].rows == 20_000
