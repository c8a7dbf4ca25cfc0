"""`python -m tests.bench.retraining`: where the time of a training goes, on windows of many rows.

Seconds of the clock and of the processors: on a busy machine the second say more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.turn import candidate, register
from tests.bench.serving import describe_machine
from tests.turned_loop import TurnedLoop

NUMBERS, CATEGORIES = 15, 5
WINDOWS = ("2026-01", "2026-02", "2026-03", "2026-04")
LOOP_TOML = """
name = "big"
key = "customer"
[target]
column = "left"
classes = ["no", "yes"]
[source]
windows = "*.parquet"
[training]
recipes = ["logistic", "lightgbm"]
[policy.promotion]
min_val_auc = 0.5
"""


def write_windows(folder: Path, rows: int) -> TurnedLoop:
    """A loop of four windows with 20 columns whose effect changes a little from month to month."""
    kinds = {f"n{place}": "numeric" for place in range(NUMBERS)}
    kinds |= {f"c{place}": "categorical" for place in range(CATEGORIES)}
    columns = "".join(f'[columns.{name}]\ntype = "{kind}"\n' for name, kind in kinds.items())
    (folder / "loop.toml").write_text(LOOP_TOML + columns, encoding="utf-8")
    for month, name in enumerate(WINDOWS, 1):
        draw = np.random.default_rng(month)
        given: dict[str, Any] = {f"n{place}": draw.normal(size=rows) for place in range(NUMBERS)}
        slope = given["n0"] + 0.5 * given["n1"] * given["n2"] - 0.3 * month * given["n4"]
        for place in range(CATEGORIES):
            values = np.array([f"v{value}" for value in range(4 + 6 * place)], dtype=object)
            given[f"c{place}"] = draw.choice(values, rows)
        left = draw.random(rows) < 1 / (1 + np.exp(-slope))
        keys = [f"{month}-{row}" for row in range(rows)]
        made = pd.DataFrame({"customer": keys, **given, "left": np.where(left, "yes", "no")})
        made.to_parquet(folder / f"{name}.parquet")
    return TurnedLoop(folder)


def main(arguments: Sequence[str]) -> int:
    """Train the first model on three windows and one more on all four, and print what it took."""
    parser = argparse.ArgumentParser(prog="retraining", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of each window")
    options = parser.parse_args(arguments)
    took: dict[str, tuple[float, float]] = {}

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            clock, busy = time.perf_counter(), time.process_time()
            try:
                return step(*given, **named)
            finally:
                took[name] = time.perf_counter() - clock, time.process_time() - busy

        return run

    with tempfile.TemporaryDirectory() as temporary:
        turned = write_windows(Path(temporary), options.rows)
        candidate.compare_twins = timed("twins", candidate.compare_twins)
        register.fit_candidate = timed("twins and refit", register.fit_candidate)
        for window in WINDOWS[2:]:
            entry = timed("all", turned.train)(window)
            seconds = {name: [round(part, 1) for part in parts] for name, parts in took.items()}
            print(window, entry.decision.action.value, json.dumps(seconds))
    print(describe_machine())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
