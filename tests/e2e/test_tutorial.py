"""The tutorial as a reader does it: every command of docs/tutorial.md that does not say why not, in
order, in an empty folder."""

from __future__ import annotations

import os
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

from tests.house.documents import Block, blocks
from tests.house.test_docs import TUTORIAL
from tests.waiting import free_port, until

pytestmark = pytest.mark.slow


class Reader:
    """Somebody in a folder who pastes one block after another into the same terminal."""

    def __init__(self, folder: Path) -> None:
        (folder / ".venv").symlink_to(sys.prefix)
        self._folder = folder
        self.port = free_port()
        self._exports = f"export CLOSEDLOOP_PORT={self.port}\n"

    def start(self, block: Block) -> subprocess.Popen[str]:
        text = block.text.replace("localhost:8080", f"localhost:{self.port}")
        command = ["bash", "-euo", "pipefail", "-c", self._exports + text]
        if block.language == "python":
            command = [sys.executable, "-c", text]
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial asks the API by curl")
def test_every_command_of_the_tutorial_works(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """From the table to predictions and a label: each block ends well, and what the text promises
    is in what they print."""
    make_mlflow_tables(tmp_path / "var")
    reader, printed = Reader(tmp_path), ""
    with ExitStack() as running:
        for block in blocks(TUTORIAL):
            if not block.is_command or block.why_not_run:
                continue
            if block.comment == "runs until stopped":
                running.enter_context(reader.serving(block))
                continue
            process = reader.start(block)
            answer, _ = process.communicate()
            assert process.returncode == 0, f"{block.text}\n{answer}"
            printed += answer
    for promised in ("promote", "keep", "production is version 1", '"prediction"', '"recorded":1'):
        assert promised in printed.replace('": ', '":'), f"{promised} is not in:\n{printed}"
    assert "fails" not in printed.partition("ok   Python")[2].partition("decision 1")[0]
