"""`closedloop init` and `doctor` on tables whose windows are times."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.app import main

ROWS = 120


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def shop(periods: list[str]) -> pd.DataFrame:
    """`ROWS` orders for each period."""
    rng, rows = np.random.default_rng(0), ROWS * len(periods)
    return pd.DataFrame(
        {
            "order_no": [f"o{number}" for number in range(rows)],
            "period": np.repeat(periods, ROWS),
            "amount": rng.normal(50, 9, rows).round(2),
            "returned": rng.choice(["no", "yes"], rows),
        }
    )


INIT = ["init", "shop.csv", "--target", "returned", "--window-column", "period"]


def run(*arguments: str) -> int:
    """The exit code of a command."""
    return main(list(arguments), os.environ)


@pytest.mark.parametrize(
    "periods",
    [
        ["11/2025", "12/2025", "01/2026", "02/2026"],
        ["Nov 2025", "Dec 2025", "Jan 2026"],
        ["Q3 2025", "Q4 2025", "Q1 2026"],
    ],
)
def test_the_newest_window_is_the_newest_in_time(
    periods: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """01/2026 is newer than 12/2025: doctor names the last period as the newest, the first as the
    first."""
    shop(periods).to_csv("shop.csv", index=False)
    assert run(*INIT) == 0
    run("doctor", "--use-case", "loop.toml")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{periods[-1]}, {ROWS} rows" in printed
    assert f"({len(periods)} windows since {periods[0]}, in the order of their dates)" in printed


def test_init_refuses_windows_whose_order_cannot_be_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nov, Dec, Jan without a year: no file is written, and the error shows a name that sorts."""
    shop(["Nov", "Dec", "Jan"]).to_csv("shop.csv", index=False)
    assert run(*INIT) == 3
    assert "2025-12" in " ".join(capsys.readouterr().err.split())
    assert not Path("loop.toml").exists()
