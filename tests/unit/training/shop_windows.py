"""Windows of a small shop in which those who spend more leave more often."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.training.candidates import LabelledWindow, labelled_rows
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

CONTENT: dict[str, Any] = {
    "name": "shop",
    "key": "customer",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {"spend": {"type": "numeric"}, "plan": {"type": "categorical"}},
    "training": {"recipes": ["logistic"], "half_life_windows": 1.0},
}


def make_shop(folder: Path) -> UseCase:
    return parse_use_case(CONTENT, folder / "loop.toml")


def with_training(use_case: UseCase, **changes: Any) -> UseCase:
    return replace(use_case, training=replace(use_case.training, **changes))


def prepared(seed: int, slope: float = 1.0, rows: int = 400) -> pd.DataFrame:
    """Rows in which those who spend more leave more often, or less often when the slope is
    negative."""
    draw = np.random.default_rng(seed)
    spend = draw.normal(0, 1, rows)
    left = draw.random(rows) < 1 / (1 + np.exp(-3 * slope * spend))
    columns = {
        "plan": draw.choice(["basic", "gold"], rows),
        "customer": [f"c{number}" for number in range(rows)],
        "left": left.astype(str),
    }
    return pd.DataFrame(
        {
            "spend": spend,
            **{name: pd.Series(values, dtype=object) for name, values in columns.items()},
        }
    )


def make_windows(
    use_case: UseCase, count: int = 4, slopes: tuple[float, ...] = ()
) -> tuple[LabelledWindow, ...]:
    slopes = slopes or (1.0,) * count
    return tuple(
        labelled_rows(f"w{index}", index, prepared(index, slopes[index]), "digest", use_case)
        for index in range(count)
    )


def poisoned(window: LabelledWindow) -> LabelledWindow:
    """The same rows with every label turned round."""
    frame = window.frame.assign(left=np.where(window.labels == 1, "False", "True").astype(object))
    return replace(window, frame=frame, labels=1 - window.labels)
