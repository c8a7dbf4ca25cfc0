"""`closedloop demo` as a newcomer runs it: what it shows is what the journal holds, twice the same,
and it can be forgotten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the use cases in it, as in a clone, and nothing else."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("streamflow", "iris"):
        shutil.copytree(
            REPOSITORY / "data" / name,
            folder / "data" / name,
            ignore=shutil.ignore_patterns("generated"),
        )
    return folder


def closedloop(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in that folder, with nothing in the environment that points elsewhere."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "closedloop", *arguments],
        cwd=place,
        env={**environment, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def history(place: Path) -> list[dict[str, Any]]:
    """The journal as a program reads it."""
    done = closedloop(place, "history", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def played(place: Path) -> subprocess.CompletedProcess[str]:
    """The demo, once."""
    return closedloop(place, "demo")


def test_the_demo_shows_seven_outcomes(
    place: Path, played: subprocess.CompletedProcess[str]
) -> None:
    """First model, quiet month, promotion, rejection, broken month, rollback, serving: all in the
    journal, decided in that order."""
    assert played.returncode == 0, played.stdout + played.stderr
    decided = [
        (entry["kind"], entry["action"], entry["window"], entry["version"])
        for entry in history(place)
    ]
    assert decided == [
        ("retraining", "retrain", "month_000", None),
        ("promotion", "promote", "month_000", 1),
        ("retraining", "keep", "month_001", 1),
        ("retraining", "retrain", "month_002", 1),
        ("promotion", "promote", "month_002", 2),
        ("rollback", "rollback", "month_003", 1),
        ("retraining", "retrain", "month_004", 1),
        ("promotion", "reject", "month_004", 3),
        ("retraining", "escalate", "month_005", 1),
        ("retraining", "retrain", "month_006", 1),
        ("promotion", "promote", "month_006", 4),
        ("serving", "serve", "month_006", 4),
    ]
    assert all(
        set(entry) >= {"id", "kind", "action", "window", "checks", "version"}
        for entry in history(place)
    )
    # Neither a fault of ours, nor what a library says of itself at the end.
    assert "Traceback" not in played.stderr
    assert "leaked" not in played.stderr


def test_the_broken_month_taught_nothing(
    place: Path, played: subprocess.CompletedProcess[str]
) -> None:
    """No version was trained on the month in cents."""
    from closedloop.settings import Settings
    from closedloop.turn.open import open_loop

    loop = open_loop(
        place / "data/streamflow/loop.toml", settings=Settings(home=place / "var", data=None)
    )
    for version in loop.registry.versions():
        assert "month_005" not in loop.registry.load(version.version).facts.trained_windows


@pytest.mark.nightly
def test_played_twice_it_behaves_the_same(
    place: Path, played: subprocess.CompletedProcess[str]
) -> None:
    """The second run decides nothing new; only the service says once more what it began to answer
    with."""
    before = [entry for entry in history(place) if entry["kind"] != "serving"]
    again = closedloop(place, "demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert [entry for entry in history(place) if entry["kind"] != "serving"] == before


def test_forgotten_it_begins_afresh(place: Path, played: subprocess.CompletedProcess[str]) -> None:
    """--forget leaves neither data nor state, and forgetting twice is no fault."""
    assert closedloop(place, "demo", "--forget").returncode == 0
    assert not (place / "var").exists()
    assert not (place / "data/streamflow/generated").exists()
    assert closedloop(place, "demo", "--forget").returncode == 0
