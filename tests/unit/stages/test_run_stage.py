"""The stages of dvc.yaml, run one after the other without DVC."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.stages.run_stage import STAGES
from closedloop.storage.entry import Entry
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow


def run(turned: TurnedLoop, folder: Path, *names: str) -> Entry | None:
    entry = None
    for name in names or STAGES:
        entry = STAGES[name](turned.open(), folder)
    return entry


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def turned(tmp_path: Path, make_mlflow_tables: Callable[[Path], None]) -> TurnedLoop:
    """Three months, of which the second breaks the contract."""
    made = write_loop(tmp_path / "shop", 3, recipe="lightgbm")
    make_month(2).drop(columns="plan").to_csv(made.folder / "2026-02.csv", index=False)
    make_mlflow_tables(made.settings.home_folder)
    return made


def test_the_stages_end_in_an_ordinary_training(turned: TurnedLoop, tmp_path: Path) -> None:
    """Prepared rows and kept pipelines lead to the numbers that the training then has; deploying
    again changes nothing, and the run in MLflow names the data of the metrics."""
    folder = tmp_path / "stages"
    entry = run(turned, folder)
    loop = turned.open()
    [version] = loop.registry.versions()
    assert entry is not None
    assert (entry.decision.version, entry.outcome) == (version.version, "done")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["val_auc"] == pytest.approx(version.val_auc, abs=1e-6)
    assert metrics["recipe"] == version.recipe
    tags = loop.registry._client.get_run(version.run_id).data.tags
    assert tags["closedloop.data_sha256"].startswith(metrics["data"])
    windows = json.loads((folder / "rows" / "windows.json").read_text())["windows"]
    assert [window["use"] for window in windows] == ["training", "none", "evaluation"]
    assert "plan" in windows[1]["broken"]
    known = loop.registry.load(1).facts.digests
    assert {window["name"]: window["digest"][:12] for window in windows if window["file"]} == known
    again = run(turned, folder, "deploy")
    assert again is not None
    assert again.id == entry.id
    assert len(loop.registry.versions()) == 1


def test_files_depend_on_nothing_but_rows_and_loop_toml(turned: TurnedLoop, tmp_path: Path) -> None:
    """In another folder, and with a model in production, every file has the same bytes; other rows
    make others."""
    run(turned, tmp_path / "first")
    run(turned, tmp_path / "second")
    first, second = contents(tmp_path / "first"), contents(tmp_path / "second")
    assert {"metrics.json", "deploy.json", "plots/roc/yes.csv", "plots/confusion.csv"} <= {*first}
    assert sum(name.endswith(".skops") for name in first) == 3  # baseline, the twin and its refit
    assert first == second
    make_month(7).to_csv(turned.folder / "2026-03.csv", index=False)
    run(turned, tmp_path / "third", "prepare", "train", "evaluate")
    assert contents(tmp_path / "third")["metrics.json"] != first["metrics.json"]


def test_a_single_window_is_taught_and_judged_by_parts(tmp_path: Path) -> None:
    """The twin learns from a part of the window and is judged on the rest, the refit learns from
    all of it: pipelines of the same window that are kept apart."""
    turned = write_loop(tmp_path / "shop", 1)
    run(turned, tmp_path, "prepare", "train", "evaluate")
    windows = json.loads((tmp_path / "rows" / "windows.json").read_text())["windows"]
    assert [window["use"] for window in windows] == ["training and evaluation"]
    assert len(list((tmp_path / "models").glob("logistic-*.skops"))) == 2
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"] < 200


@pytest.mark.parametrize(
    ("stage", "code", "said"),
    [
        ("test", 2, "wanted prepare, train, evaluate, deploy, got test"),
        ("train", 3, "wanted what the stage prepare leaves, got no such file"),
    ],
)
def test_a_stage_out_of_turn_is_refused(
    stage: str,
    code: int,
    said: str,
    turned: TurnedLoop,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error names the stages, or the one that comes first."""
    words = ["stage", stage, str(tmp_path), "--use-case", str(turned.path)]
    assert main(words, {"CLOSEDLOOP_HOME": str(tmp_path / "home")}) == code
    assert said in capsys.readouterr().err
