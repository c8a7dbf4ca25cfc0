"""`python -m closedloop.operations.child_process COMMAND...`: run a command that ends when its
parent ends, even by `kill -9`.

The parent holds the other end of our standard input. When the parent is gone, the pipe closes, and
we end the command and everything it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

GRACE_SECONDS = 10.0
_SOME_BYTES = 2**20
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception)\b.*$", re.MULTILINE)


def start_child(
    command: list[str],
    *,
    environment: dict[str, str],
    log: str | os.PathLike[str],
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command that ends when this process ends; its output goes to `log`.

    It inherits the file descriptors `keep`. Closing its `stdin` ends it, too.
    """
    with open(log, "wb") as output:
        guarded = [sys.executable, "-m", "closedloop.operations.child_process", *command]
        return subprocess.Popen(
            guarded,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            pass_fds=keep,
        )


def stop_child(process: subprocess.Popen[bytes]) -> None:
    """End a command started by `start_child` and wait until it has ended."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=GRACE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tell_end(code: int, log: Path) -> str:
    """How a child ended: its exit code and the last error in its log, or that the disk is full."""
    if shutil.disk_usage(log.parent).free < _SOME_BYTES:
        return f"exit code {code}, the disk is full"
    said = _ERROR.findall(log.read_text(encoding="utf-8", errors="replace"))
    return f"exit code {code}, {said[-1].strip()}" if said else f"exit code {code}"


def main(command: list[str]) -> int:
    """Run the command until it or the parent ends; returns its exit code."""
    # In a process group of its own, so that we can signal the command and everything it starts, and
    # outlive them to check that they ended. What is open here beyond the three was meant for it.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, close_fds=False)
    signal.signal(signal.SIGTERM, lambda *_: _signal_group(child.pid, signal.SIGTERM))

    def end_with_parent() -> None:
        # Not sys.stdin: if a waiting thread holds its lock when the command ends first, the
        # interpreter aborts.
        while os.read(0, 1024):
            pass
        _signal_group(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(child.pid, signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()
    code = child.wait()
    # End what the command started and left behind.
    _signal_group(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
