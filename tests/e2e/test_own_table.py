"""README's 'Your own table' with a European export whose months are a column of times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.app import main
from closedloop.decisions.checks import Action
from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.open import open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, take_turn

ROWS = 2400


def write_sales(path: Path) -> None:
    """Semicolons, decimal commas, 01.10.2025 00:30; January's rows stop on the 20th."""
    rng = np.random.default_rng(3)
    at = pd.date_range("2025-10-01 00:30", "2026-01-20", periods=ROWS)
    weight, tenure = rng.uniform(0.005, 4, ROWS).round(3), rng.integers(0, 40, ROWS)
    returned = rng.random(ROWS) < 1 / (1 + np.exp(1.5 - 0.8 * weight + 0.05 * tenure))
    sales = pd.DataFrame(
        {
            "order_no": [f"o{number:05d}" for number in range(ROWS)],
            "ordered_at": at.strftime("%d.%m.%Y %H:%M"),
            "weight_kg": weight,
            "tenure": tenure,
            "returned": np.where(returned, "ja", "nein"),
        }
    )
    sales.to_csv(path, sep=";", decimal=",", index=False)


@pytest.mark.slow
def test_a_table_with_decimal_commas_and_times_turns_as_readme_says(
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """init finds signs, format and windows; the first turn promotes a model; 0,887 is 0.887."""
    write_sales(tmp_path / "sales.csv")
    out = tmp_path / "loop.toml"
    asked = ["--target", "returned", "--time-column", "ordered_at", "--every", "month"]
    assert main(["init", str(tmp_path / "sales.csv"), *asked, "--out", str(out)], {}) == 0
    printed = capsys.readouterr().out
    for said in (
        "3 windows, 2025-10 to 2025-12",
        "2026-01 left out: not over yet, or its rows stop early",
        "read as: ; between values, decimal comma, utf-8",
        'the positive class is "ja"',
    ):
        assert said in printed
    make_mlflow_tables(tmp_path / "home")
    loop = open_loop(
        out,
        settings=Settings(home=tmp_path / "home", data=None, database_url=None, mlflow_url=None),
    )
    assert loop.use_case.columns["weight_kg"].maximum == 8
    assert loop.source.windows() == ("2025-10", "2025-11", "2025-12")
    asked_for = take_turn(History(loop))
    assert asked_for.decision.action is Action.RETRAIN
    promoted = retrain(History(loop), asked_for, propose=propose_candidate)
    assert promoted.decision.action is Action.PROMOTE, promoted.decision.reason
    weights = History(loop).read("2025-12").prepared["weight_kg"]
    assert 0.005 <= weights.min() < weights.max() <= 4
