"""The first command on an empty home, and processes of it that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.synthetic import generate_windows, write_generated

REPOSITORY = Path(__file__).resolve().parents[2]
USE_CASE = REPOSITORY / "data" / "iris" / "loop.toml"
PATIENCE_SECONDS = 300.0


def write_data(folder: Path) -> None:
    """The windows that the command reads."""
    write_generated(load_use_case(USE_CASE), folder, generate_windows("iris", None))


def start(home: Path, data: Path) -> subprocess.Popen[Any]:
    """`closedloop monitor`, which touches every store."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_"))
    }
    named = {"HOME": home, "DATA": data, "USE_CASE": USE_CASE}
    return subprocess.Popen(
        [sys.executable, "-m", "closedloop", "monitor", "--window", "window_0", "--json"],
        env={**environment, **{f"CLOSEDLOOP_{name}": str(path) for name, path in named.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[Any]) -> None:
    """Wait for a command, which has to end well."""
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, out + err
    assert '"action": "promote"' in out


def kill(process: subprocess.Popen[Any], *, children: bool) -> None:
    """`kill -9` of a command, with or without the processes that it has started."""
    for number in (process.pid, *(descendants(process.pid) if children else ())):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.communicate()


def descendants(number: int) -> list[int]:
    """The processes that a process has started, and those that they have started."""
    try:
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait until a file is there; the command must still run."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.001)
