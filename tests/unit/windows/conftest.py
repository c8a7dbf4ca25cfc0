"""A small use case and rows that keep its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

CONTENT: dict[str, Any] = {
    "name": "test",
    "key": "id",
    "source": {"query": "SELECT 1", "windows": "*"},
    "target": {"column": "label", "classes": ["no", "Yes"]},
    "columns": {
        "fee": {"type": "numeric", "minimum": 0, "maximum": 500},
        "plan": {"type": "categorical", "allowed": ["Month-to-month", "One year"]},
        "level": {"type": "categorical"},
    },
}


@pytest.fixture
def use_case() -> UseCase:
    return parse_use_case(CONTENT, Path("loop.toml"))


def good_rows(rows: int = 200) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"u{number}" for number in range(rows)],
            "fee": np.linspace(20, 120, rows),
            "plan": ["Month-to-month", "One year"] * (rows // 2),
            "level": [1, 2] * (rows // 2),
            "label": ["no", "Yes"] * (rows // 2),
        }
    )
