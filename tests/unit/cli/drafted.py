"""A table as a file, and the loop.toml that `init` writes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.cli.draft.write_use_case import Asked, write_use_case
from closedloop.use_case.contract import Column, UseCase
from closedloop.windows.contract_check import check_contract
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import prepare

ROWS = 240


@dataclass(frozen=True)
class Drafted:
    """What was written; `notes` is all that the user is told, a line each."""

    use_case: UseCase
    notes: str
    text: str

    @property
    def x(self) -> Column:
        return self.use_case.columns["x"]

    def prepared(self) -> pd.DataFrame:
        """All windows as training reads them; none of them breaks the contract."""
        source = open_source(self.use_case)
        frames = [source.read(window) for window in source.windows()]
        for raw in frames:
            assert check_contract(raw, prepare(raw, self.use_case), self.use_case) == ()
        return pd.concat([prepare(raw, self.use_case) for raw in frames], ignore_index=True)


def cycle(values: Sequence[Any], rows: int = ROWS) -> list[Any]:
    """The values over and over, in an order without a pattern."""
    places = np.random.default_rng(0).permutation(np.arange(rows) % len(values))
    return [values[place] for place in places]


def table(x: Sequence[Any], **columns: Sequence[Any]) -> pd.DataFrame:
    """Column `x` beside a feature, three windows and a target."""
    rows = len(x)
    return pd.DataFrame(
        {
            "x": pd.Series(x, dtype=object),
            "plain": np.random.default_rng(1).normal(0, 1, rows).round(3),
            "month": [f"2025-{1 + 3 * row // rows:02d}" for row in range(rows)],
            "left": cycle(["yes", "no", "no"], rows),
            **columns,
        }
    )


def draft(frame: pd.DataFrame, folder: Path, ending: str = "csv", **options: Any) -> Drafted:
    """`init` of a file with these rows, as if a user had asked for column `left`."""
    path, out = folder / f"shop.{ending}", folder / "loop.toml"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path, index=False)
    asked: Mapping[str, Any] = {
        "target": "left",
        "window_column": "month",
        "force": True,
        **options,
    }
    use_case, notes = write_use_case([path], Asked(out=out, **asked))
    return Drafted(use_case, "\n".join(notes), out.read_text(encoding="utf-8"))
