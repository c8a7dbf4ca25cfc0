"""A short history in memory for replays: two features, two classes, and a relation that turns round
in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.replay import Past, Stream
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

CONTENT: dict[str, Any] = {
    "name": "shop",
    "target": {"column": "left", "classes": ["no", "yes"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {"spend": {"type": "numeric"}, "plan": {"type": "categorical"}},
    "training": {"recipes": ["logistic"], "half_life_windows": 1.0},
    "policy": {
        "drift": {"resamples": 20},
        "retraining": {
            "min_new_labels": 50,
            "min_new_labels_per_class": 5,
            "cooldown_windows": 0,
            "budget_trainings": 8,
        },
        "promotion": {
            "min_rows": 50,
            "min_rows_per_class": 5,
            "min_f1": 0.0,
            "min_val_auc": 0.5,
            "min_gain_over_baseline": 0.0,
        },
        "rollback": {"min_rows": 50},
    },
}


@dataclass
class Frames:
    """A source in memory; `asked` lists the windows that were read."""

    frames: Mapping[str, pd.DataFrame]
    asked: list[str] = field(default_factory=list)

    def windows(self) -> tuple[str, ...]:
        return tuple(self.frames)

    def read(self, window: str) -> pd.DataFrame:
        self.asked.append(window)
        return self.frames[window]


def make_frame(seed: int, slope: float = 1.0, shift: float = 0.0, rows: int = 300) -> pd.DataFrame:
    """Rows in which those who spend more leave more often; less often when the slope is
    negative."""
    draw = np.random.default_rng(seed)
    spend = draw.normal(shift, 1, rows)
    left = draw.random(rows) < 1 / (1 + np.exp(-2 * slope * (spend - shift)))
    return pd.DataFrame(
        {
            "spend": spend,
            "plan": draw.choice(["basic", "gold"], rows),
            "left": np.where(left, "yes", "no"),
        }
    )


def make_frames(windows: int = 9, turns_at: int = 4) -> dict[str, pd.DataFrame]:
    """w0, w1, ...: the slope turns slowly from there on, and what is spent grows."""
    return {
        f"w{number}": make_frame(
            number, 1.0 if number < turns_at else -1.0, 0.4 * max(0, number - turns_at)
        )
        for number in range(windows)
    }


def make_use_case(folder: Path, **changes: Any) -> UseCase:
    return parse_use_case({**CONTENT, **changes}, folder / "loop.toml")


def make_past(
    folder: Path,
    frames: Mapping[str, pd.DataFrame] | None = None,
    *,
    delay: int = 1,
    first: int = 2,
    cache: Path | None = None,
) -> Past:
    use_case = make_use_case(folder, labels={"delay_windows": delay})
    return Past(
        Stream(Frames(make_frames() if frames is None else frames)),
        use_case,
        CachedCompute(cache),
        first,
    )
