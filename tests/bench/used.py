"""What a command uses: seconds, seconds of the processors, memory."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from closedloop.errors import ClosedLoopError

# Seconds, seconds of the processors, megabytes.
Used = tuple[float, float, float]


def run(command: Sequence[str], folder: Path, cwd: Path | None = None) -> Used:
    """What a command used, run in the folder or in `cwd`. Raises ClosedLoopError when it fails."""
    began = time.perf_counter()
    with open(folder / "printed", "wb") as printed:
        process = subprocess.Popen(command, cwd=cwd or folder, stdout=printed, stderr=printed)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ClosedLoopError(
            where=shlex.join(command),
            wanted="a command that succeeds",
            got=(folder / "printed").read_text(encoding="utf-8")[-2_000:],
            then="run it by hand",
        )
    seconds = time.perf_counter() - began
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
