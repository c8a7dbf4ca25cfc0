"""What people and hooks run exists. Documents: test_docs.py; CI: test_workflows.py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from tests.house.tree import ROOT


def test_the_run_for_bare_machines_does_what_a_person_types() -> None:
    """.ci/run can be executed, is valid bash, and calls `make test`, then `make up` and `make
    smoke`, in lines of their own."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0
    lines = script.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make ")] == [
        "make test",
        "make up",
        "make smoke",
    ]


def test_hooks_need_no_network() -> None:
    """pre-commit runs the locked tools of .venv and fetches none."""
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))[
        "repos"
    ]
    assert {repository["repo"] for repository in repositories} == {"local"}
    entries = [hook["entry"] for repository in repositories for hook in repository["hooks"]]
    assert {Path(entry.split()[0]).name for entry in entries} == {"ruff", "mypy", "lint-imports"}
    assert all(entry.startswith(".venv/bin/") for entry in entries)
