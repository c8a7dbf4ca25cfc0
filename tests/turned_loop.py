"""A small real loop: windows in CSV files, a journal, MLflow on SQLite, and trainings as flows do
them, but without Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, write_request

LOOP_TOML = """
name = "shop"
key = "customer"
[target]
column = "left"
classes = ["no", "yes"]
[source]
windows = "*.csv"
[columns.spend]
type = "numeric"
[columns.plan]
type = "categorical"
allowed = ["basic", "gold"]
[columns.active]
type = "categorical"
[columns.visits]
type = "numeric"
optional = true
[training]
recipes = ["{recipe}"]
histories = ["{history}"]
half_life_windows = 1.0
[policy.promotion]
min_rows = 50
min_rows_per_class = 5
min_slice_rows_per_class = 5
min_val_auc = 0.5
min_f1 = 0.0
min_gain_over_baseline = 0.0
max_packaging_difference = {difference}
"""


@dataclass(frozen=True)
class TurnedLoop:
    """The folder with loop.toml and its windows; the home is in it, MLflow too unless it is a
    server."""

    folder: Path
    mlflow_url: str | None = None

    @property
    def path(self) -> Path:
        return self.folder / "loop.toml"

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.folder / "home",
            data=None,
            database_url=None,
            mlflow_url=self.mlflow_url,
            revision="abc",
        )

    def open(self, *, with_records: bool = False) -> Loop:
        return open_loop(self.path, settings=self.settings, with_records=with_records)

    def train(self, window: str | None = None, *, with_records: bool = False) -> Entry:
        """Train for a window, or the newest, at a person's request; returns the decision on the
        candidate."""
        history = History(self.open(with_records=with_records), window).look()
        return retrain(history, write_request(history), propose=propose_candidate)


def write_loop(
    folder: Path,
    months: int,
    *,
    recipe: str = "logistic",
    history: str = "recent",
    difference: float = 1e-5,
) -> TurnedLoop:
    """The use case and its windows, 2026-01 and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    text = LOOP_TOML.format(recipe=recipe, history=history, difference=difference)
    (folder / "loop.toml").write_text(text, encoding="utf-8")
    for month in range(1, months + 1):
        make_month(month).to_csv(folder / f"2026-{month:02}.csv", index=False)
    return TurnedLoop(folder)


def make_month(month: int, rows: int = 300) -> pd.DataFrame:
    """Customers who leave the more often the less they spend, which is less sure every month."""
    draw = np.random.default_rng(month)
    spend = draw.normal(50, 20, rows)
    left = draw.random(rows) < 1 / (1 + np.exp((spend - 50) / (10 * month)))
    return pd.DataFrame(
        {
            "customer": [f"{month}-{number}" for number in range(rows)],
            "spend": np.where(draw.random(rows) < 0.02, np.nan, spend.round(2)),
            "plan": draw.choice(["basic", "gold"], rows),
            "active": draw.choice([True, False], rows),
            "visits": draw.poisson(3, rows),
            "left": np.where(left, "yes", "no"),
        }
    )
