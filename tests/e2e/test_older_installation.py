"""What an earlier version left is read by this one: its journal, its registry, its bundles.

`tests/kept/var_0_1.tar.xz` is what `closedloop demo`, a rollback and a promotion by hand left under
`var/` (version 0.1.0, commit 43b7612; without reports, plots and the files of versions 2 and 3).
`history_0_1.json` is what `closedloop history --json` printed then.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.newcomer import closedloop

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
KEPT = REPOSITORY / "tests" / "kept"
KEPT_AT = "/kept/var"  # stands for the folder in which it was kept


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with that `var/` in it and the demo's data."""
    folder = tmp_path_factory.mktemp("older")
    shutil.copytree(
        REPOSITORY / "data" / "streamflow",
        folder / "data" / "streamflow",
        ignore=shutil.ignore_patterns("generated"),
    )
    with tarfile.open(KEPT / "var_0_1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for name in ("closedloop.db", "mlflow.db"):
        put_in_place(folder / "var" / name, str(folder / "var"))
    run(folder, "generate", "--months", "7")
    return folder


def put_in_place(database: Path, folder: str) -> None:
    """Replace the folder of then by `folder` in every text of a SQLite file."""
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for column in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                connection.execute(
                    f'UPDATE "{table}" SET "{column[1]}" = replace("{column[1]}", ?, ?) '
                    f'WHERE "{column[1]}" LIKE ?',
                    (KEPT_AT, folder, f"%{KEPT_AT}%"),
                )


def ask(place: Path, *arguments: str) -> str:
    """What a command printed in this process; it has to succeed."""
    with contextlib.chdir(place):
        done = closedloop(*arguments)
    assert done.code == 0, done.out + done.err
    return done.out


def run(place: Path, *arguments: str) -> str:
    """What a command printed in a process of its own; it has to succeed."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "closedloop", *arguments],
        cwd=place,
        env={**environment, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_history(place: Path) -> list[dict[str, Any]]:
    """The journal as a program reads it."""
    found: list[dict[str, Any]] = json.loads(ask(place, "history", "--json"))
    return found


def test_its_journal_reads_the_same(place: Path) -> None:
    """Every decision has its checks, facts, cause and outcome; its summary may be worded anew."""
    kept = json.loads((KEPT / "history_0_1.json").read_text(encoding="utf-8"))
    for now, before in zip(read_history(place), kept, strict=True):
        for name in set(before) - {"reason", "details", "checks"}:
            assert now[name] == before[name], f"decision {before['id']}: {name}"
        assert now["reason"]
        for shown, check in zip(now["checks"], before["checks"], strict=True):
            assert {name: shown[name] for name in check} == check
        known = {name: value for name, value in before["details"].items() if value is not None}
        assert {name: now["details"].get(name) for name in known} == known
    assert "slice month_to_month" in ask(place, "why", "8")


@pytest.mark.nightly
def test_its_versions_answer_and_move(place: Path) -> None:
    """Production scores a table as it did, goes back one step and forward again."""
    status = json.loads(ask(place, "status", "--json"))
    assert (status["production"], status["previous"]) == (4, 1)
    ask(place, "doctor")
    assert json.loads(ask(place, "rollback", "--json"))["version"] == 1
    assert json.loads(ask(place, "promote", "4", "--json"))["version"] == 4


@pytest.mark.nightly
def test_its_turns_are_not_taken_again(place: Path) -> None:
    """A window that was decided on then keeps its decision: nothing is trained or promoted."""
    before = [entry["id"] for entry in read_history(place)]
    decision = json.loads(run(place, "monitor", "--window", "month_006", "--json"))
    assert (decision["id"], decision["action"]) == (10, "retrain")
    assert [entry["id"] for entry in decision["led_to"]] == [11]
    assert [entry["id"] for entry in read_history(place)] == before
