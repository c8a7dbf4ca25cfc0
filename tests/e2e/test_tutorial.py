"""The tutorial as a reader does it: every command of docs/tutorial.md that does not say why not, in
order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from closedloop.use_case.loop_toml import load_use_case
from tests.house.documents import Block, blocks
from tests.house.test_docs import TUTORIAL
from tests.waiting import free_port, until

COMMANDS = [block for block in blocks(TUTORIAL) if block.is_command and not block.why_not_run]


class Reader:
    """Somebody in a folder who pastes one block after another into the same terminal."""

    def __init__(self, folder: Path) -> None:
        (folder / ".venv").symlink_to(sys.prefix)
        self._folder = folder
        self.port = free_port()
        self._exports = f"export CLOSEDLOOP_PORT={self.port}\n"

    def start(self, block: Block) -> subprocess.Popen[str]:
        """Paste a block; what it exports stays for the next."""
        text = block.text.replace("localhost:8080", f"localhost:{self.port}")
        command = ["bash", "-euo", "pipefail", "-c", self._exports + text]
        self._exports += "".join(
            f"{line}\n" for line in text.splitlines() if line.startswith("export ")
        )
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, block: Block) -> str:
        """What a block prints; it must end well."""
        process = self.start(block)
        printed, _ = process.communicate()
        assert process.returncode == 0, f"{block.text}\n{printed}"
        return printed

    @contextmanager
    def serving(self, block: Block) -> Any:
        """A block that runs until it is stopped, while it can be asked."""
        with self.start(block) as process:
            try:
                until(self._is_ready, "an answer of /ready")
                yield
            finally:
                process.terminate()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://localhost:{self.port}/ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


@pytest.mark.slow
def test_the_tutorial_begins_as_it_says(tmp_path: Path) -> None:
    """The table is made and described, and the row that is asked about later has its features and
    its key: the cheap part of the test below, in every run."""
    reader = Reader(tmp_path)
    for block in COMMANDS[:2]:
        reader.run(block)
    use_case = load_use_case(tmp_path / "mine")
    [row] = [
        json.loads(found)
        for block in COMMANDS
        for found in re.findall(r"/predict .*-d '(.*)'", block.text)
    ]
    assert set(row) == {*use_case.columns, use_case.key}
    assert use_case.columns["plan"].allowed == ("basic", "gold")


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial asks the API by curl")
def test_every_command_of_the_tutorial_works(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """From the table to predictions and a label: each block ends well, and what the text promises
    is in what they print."""
    make_mlflow_tables(tmp_path / "var")
    reader, printed = Reader(tmp_path), ""
    with ExitStack() as running:
        for block in COMMANDS:
            if block.comment == "runs until stopped":
                running.enter_context(reader.serving(block))
            else:
                printed += reader.run(block)
    for promised in ("promote", "keep", "production is version 1", '"prediction":', '"recorded":1'):
        assert promised in printed, f"{promised} is not in:\n{printed}"
