"""`python -m closedloop.attached COMMAND...`: run a command that ends with its parent, however the parent ends.

The parent holds the other end of our standard input. When it is gone, even by `kill -9`, the pipe closes and the command, with all that it
started, is ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 10.0


def start_attached(command: list[str], *, environment: dict[str, str], log: str | os.PathLike[str]) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process; what it prints goes to `log`. Closing its `stdin` ends it."""
    with open(log, "wb") as output:
        return subprocess.Popen([sys.executable, "-m", "closedloop.attached", *command], stdin=subprocess.PIPE, stdout=output,
                                stderr=output, env=environment, start_new_session=True)  # fmt: skip


def stop_attached(process: subprocess.Popen[bytes]) -> None:
    """End a command started by `start_attached` and wait until it is gone."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=GRACE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(command: list[str]) -> int:
    """Run the command to its end or to the parent's; returns its exit code."""
    # The session is ours alone: what the command starts is in it, and is ended with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.killpg(os.getpgrp(), signal.SIGTERM)
        try:
            child.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
