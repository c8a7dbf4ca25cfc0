"""`closedloop backtest` on a table that `closedloop init` described: lines for programs, a table, a
page and a sentence for people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from closedloop.cli.app import main
from tests.unit.streams import make_frames

pytestmark = pytest.mark.slow

FIGURES = {
    "policy",
    "mean_auc",
    "share",
    "worst_regret",
    "trainings_share",
    "promotions",
    "harmful",
    "missed",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a table of twelve numbered windows and the loop.toml that init makes of it; the
    environment is put back."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    frames = enumerate(make_frames(12, turns_at=2).values())
    pd.concat([frame.assign(month=number) for number, frame in frames]).to_csv(
        "sales.csv", index=False
    )
    assert (
        main(["init", "sales.csv", "--target", "left", "--window-column", "month"], os.environ) == 0
    )
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


def test_one_line_of_json_a_policy(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has the promised figures, in the order asked for; the facts of every round are in
    backtest.json, windows in time order."""
    command = [
        "backtest",
        "--use-case",
        "loop.toml",
        "--label-delay",
        "1",
        "--learner",
        "logistic",
        "--out",
        "out",
        "--json",
    ]
    capsys.readouterr()
    assert (
        main(
            [*command, "--policy", "loop", "--policy", "every-3", "--policy", "always"], os.environ
        )
        == 0
    )
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [figures["policy"] for figures in found] == ["loop", "every-3", "always"]
    assert all(set(figures) >= FIGURES for figures in found)
    assert found[2]["share"] == 1
    kept = json.loads((place / "out/backtest.json").read_text())
    assert kept["windows"] == [str(number) for number in range(12)]
    assert [round["window"] for round in kept["rounds"]["loop"]] == [
        str(number) for number in range(4, 11)
    ]
    assert {"actions", "reason", "delta", "next_auc", "production", "harmful"} <= set(
        kept["rounds"]["loop"][0]
    )


def test_people_get_a_table_a_page_and_a_sentence(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every default policy is a line of 80 columns at most, the page needs nothing from elsewhere,
    the sentence has numbers."""
    capsys.readouterr()
    assert main(["backtest", "--use-case", "loop.toml", "--learner", "logistic"], os.environ) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {
        "static",
        "always",
        "every-2",
        "every-4",
        "naive",
        "loop",
    }
    assert max(map(len, lines[:-2])) <= 80
    page = (place / "home/backtest/sales/backtest.html").read_text()
    assert "data:image/svg+xml;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert "of its trainings" in lines[-1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--policy lop", 2, "did you mean loop?"),
        ("--learner forest", 2, "logistic or lightgbm"),
        ("--first-windows 12", 3, "at least 14 windows"),
        ("--out sales.csv/x --learner logistic --policy static", 3, "choose another --out"),
    ],
)
def test_a_mistake_is_one_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], options: str, code: int, words: str
) -> None:
    """A policy, learner, history or folder that cannot be used ends in a sentence and the code of
    its kind."""
    capsys.readouterr()
    assert main(["backtest", "--use-case", "loop.toml", *options.split()], os.environ) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
