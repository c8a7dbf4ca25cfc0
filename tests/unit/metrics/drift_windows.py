"""Windows for drift: many ordinary columns, or an odd one beside a fine one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.drift_report import ColumnDrift, DriftReport
from closedloop.metrics.drift import measure_drift

NAN = float("nan")


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Warnings of Evidently and numpy about odd columns must not reach the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def measure(
    reference: pd.DataFrame, current: pd.DataFrame, *, with_html: bool = False, **changes: Any
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
    }
    report, draw_page = measure_drift(reference, current, **{**given, **changes})
    return report, draw_page() if with_html else None


def measure_columns(
    reference: pd.DataFrame, current: pd.DataFrame, **changes: Any
) -> dict[str, ColumnDrift]:
    return {column.column: column for column in measure(reference, current, **changes)[0].columns}


def twenty_columns(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
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


def odd_and_fine(
    count: int, make: Callable[[np.random.Generator], Any], seed: int = 0
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "odd": make(np.random.default_rng(seed)),
            "fine": np.random.default_rng(seed + 9).normal(size=count),
        }
    )
