"""dvc.yaml on fresh clones: the same files everywhere, and nothing to do the second time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.house.tree import ROOT, project_files

PLOTS = ("roc", "precision_recall", "calibration", "confusion.csv", "importance.csv")


class Clone:
    """A repository whose own code runs its stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> str:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(self.folder / "src"), str(self.folder)]),
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site"),
            "DVC_NO_ANALYTICS": "true",
        }
        for name in [name for name in environment if name.startswith(("CLOSEDLOOP_", "MLFLOW_"))]:
            del environment[name]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(self, *words: str) -> str:
        return self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *words)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """What is or would be committed here, in a repository of its own."""
    made = Clone(tmp_path / "first")
    for path in project_files():
        copy = made.folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    made.git("init", "--quiet")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "as it is")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iris", pytest.param("streamflow", marks=pytest.mark.nightly)])
def test_clones_give_the_same_metrics_and_a_second_run_does_nothing(
    name: str, clone: Clone, tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """A fresh clone builds the use case up to the deployed model, then has nothing left to do;
    another clone gives the same files byte for byte, with the metrics that dvc.lock has."""
    make_mlflow_tables(clone.folder / "var")
    assert "promote" in clone.run("dvc", "repro", f"deploy@{name}")
    again = clone.run("dvc", "repro", f"deploy@{name}")
    assert "Running stage" not in again
    assert again.count("didn't change, skipping") == 4
    other = Clone(tmp_path / "other")
    clone.git("clone", "--quiet", str(clone.folder), str(other.folder))
    other.run("dvc", "repro", f"evaluate@{name}")
    first, second = (made.folder / "var" / "dvc" / name for made in (clone, other))
    same = ["metrics.json", *(f"plots/{plot}" for plot in PLOTS)]
    for path in [path for wanted in same for path in _files(first / wanted)]:
        there = second / path.relative_to(first)
        assert there.read_bytes() == path.read_bytes(), path.name
    committed, made = (
        yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
        for folder in (ROOT, clone.folder)
    )
    [known], [found] = (
        [out for out in lock[f"evaluate@{name}"]["outs"] if out["path"].endswith("metrics.json")]
        for lock in (committed, made)
    )
    assert found == known, "the metrics have changed: dvc repro, then commit dvc.lock"


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.iterdir())
    assert found, path
    return found
