"""dvc.yaml on fresh clones: the same files everywhere, and nothing to do the second time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.nightly
@pytest.mark.slow
def test_a_fresh_clone_builds_what_dvc_lock_says(
    clone: Clone, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Up to the deployed model, with the metrics that another clone wrote into dvc.lock; then
    nothing is left to do."""
    make_mlflow_tables(clone.folder / "var")
    assert "promote" in clone.run("dvc", "repro", "deploy@iris")
    again = clone.run("dvc", "repro", "deploy@iris")
    assert "Running stage" not in again
    assert again.count("didn't change, skipping") == 4
    found, known = (_metrics_of("iris", folder) for folder in (clone.folder, ROOT))
    assert found == known, "the metrics have changed: dvc repro, then commit dvc.lock"


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["iris", "streamflow"])
def test_two_clones_give_the_same_files(name: str, clone: Clone, tmp_path: Path) -> None:
    """Metrics and plots, byte for byte."""
    other = Clone(tmp_path / "other")
    clone.git("clone", "--quiet", str(clone.folder), str(other.folder))
    for made in (clone, other):
        made.run("dvc", "repro", f"evaluate@{name}")
    first, second = (made.folder / "var" / "dvc" / name for made in (clone, other))
    same = ["metrics.json", *(f"plots/{plot}" for plot in PLOTS)]
    for path in [path for wanted in same for path in _files(first / wanted)]:
        there = second / path.relative_to(first)
        assert there.read_bytes() == path.read_bytes(), path.name
    assert _metrics_of(name, clone.folder) == _metrics_of(name, ROOT)


def _metrics_of(name: str, folder: Path) -> dict[str, Any]:
    """What a dvc.lock says of the metrics of a use case."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    (found,) = [
        out for out in stages[f"evaluate@{name}"]["outs"] if out["path"].endswith("metrics.json")
    ]
    return dict(found)


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.iterdir())
    assert found, path
    return found
