"""`python -m closedloop.operations.child_process COMMAND...`: run a command that ends with its
parent, however the parent ends.

The parent holds the other end of our standard input. When it is gone, even by `kill -9`, the pipe
closes and the command, with all that it started, is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 10.0


def start_child(
    command: list[str], *, environment: dict[str, str], log: str | os.PathLike[str]
) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process; what it prints goes to `log`. Closing its
    `stdin` ends it."""
    with open(log, "wb") as output:
        guarded = [sys.executable, "-m", "closedloop.operations.child_process", *command]
        return subprocess.Popen(
            guarded,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


def stop_child(process: subprocess.Popen[bytes]) -> None:
    """End a command started by `start_child` and wait until it is gone."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=GRACE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(command: list[str]) -> int:
    """Run the command to its end or to the parent's; returns its exit code."""
    # A process group of its own: signals reach the command and all that it starts, and leave us to
    # see to it that they obey.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    signal.signal(signal.SIGTERM, lambda *_: _signal_group(child.pid, signal.SIGTERM))

    def end_with_parent() -> None:
        # Not sys.stdin: its buffer's lock, held by a thread that waits, aborts the interpreter when
        # the command ends first.
        while os.read(0, 1024):
            pass
        _signal_group(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(child.pid, signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()
    code = child.wait()
    # Whatever it started and left behind has nobody to answer to any more.
    _signal_group(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
