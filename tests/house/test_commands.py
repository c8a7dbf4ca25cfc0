"""The commands that people and documents use exist. What CI runs: test_workflows.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.house.tree import ROOT, make_targets

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "docs/benchmarks.md",
    "docs/decisions.md",
    "docs/operate.md",
]
TARGETS = make_targets()


def _commands(document: str, program: str) -> list[str]:
    """The words after a program's name in code blocks and code spans of a document."""
    path = ROOT / document
    if not path.exists():
        pytest.skip(f"{document} is not written yet")
    text = path.read_text(encoding="utf-8")
    code = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE) + re.findall(
        r"`([^`\n]+)`", text
    )
    lines = [line.strip() for block in code for line in block.splitlines()]
    return [
        match[1]
        for line in lines
        if (match := re.match(rf"(?:\$ )?(?:\.venv/bin/)?{program} ([a-z][a-z-]*)", line))
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_command() -> None:
    """`make` alone changes nothing and lists each target with a sentence."""
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", shown, flags=re.MULTILINE))
    assert set(listed) == TARGETS
    assert all(sentence.endswith(".") for sentence in listed.values())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_in_a_document_exists(document: str) -> None:
    """Every `make` target that a document names exists."""
    assert set(_commands(document, "make")) <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_a_document_exists(document: str) -> None:
    """Every `closedloop` command that a document names exists."""
    named = _commands(document, "closedloop")
    from typer.main import get_command

    from closedloop.cli.app import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(named) <= known


def test_the_run_for_bare_machines_does_what_a_person_types() -> None:
    """.ci/run is executable, valid bash, and calls `make test`, `make up` and `make smoke`."""
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
    """pre-commit runs the locked tools of .venv and downloads nothing."""
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))[
        "repos"
    ]
    assert {repository["repo"] for repository in repositories} == {"local"}
    entries = [hook["entry"] for repository in repositories for hook in repository["hooks"]]
    assert {Path(entry.split()[0]).name for entry in entries} == {"ruff", "mypy", "lint-imports"}
    assert all(entry.startswith(".venv/bin/") for entry in entries)


def test_every_test_that_a_document_names_exists() -> None:
    """Every test that the architecture names as a guard against a failure exists."""
    named = re.findall(
        r"`(tests/[a-z_/]+\.py)::(test_[a-z_]+)`",
        (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"),
    )
    assert len(named) > 10
    missing = [
        f"{path}::{name}"
        for path, name in named
        if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []
