"""What a command leaves behind when its process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.unit.cli.test_stack_processes import LOOP_TOML

pytestmark = pytest.mark.slow


def test_a_command_closes_its_databases(tmp_path: Path) -> None:
    """SQLite's log is moved into the file: a copy of that file alone is whole."""
    (tmp_path / "loop.toml").write_text(LOOP_TOML.format(name="shop"), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if "CLOSEDLOOP" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "closedloop", "status", "--use-case", "loop.toml"],
        cwd=tmp_path,
        env={
            **kept,
            "CLOSEDLOOP_HOME": str(tmp_path / "home"),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    left = {path.name for path in (tmp_path / "home").iterdir()}
    assert "closedloop.db" in left
    assert not [name for name in left if name.endswith(("-wal", "-shm"))]
