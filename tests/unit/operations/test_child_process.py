"""Attached commands end with their parent, with all that they started, however the parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from closedloop.operations.child_process import start_child, stop_child

PATIENCE_SECONDS = 30.0

# A command with a child and a grandchild, none of which ends by itself; each writes its id into the
# named pipe.
TREE = """
import os, signal, sys
for _ in range(2):
    if os.fork():
        break
    if sys.argv[2] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(os.open(sys.argv[1], os.O_WRONLY), f"{os.getpid()}\\n".encode())
while True:
    signal.pause()
"""
PARENT = """
import os, sys
from closedloop.operations.child_process import start_child
start_child([sys.executable, *sys.argv[2:]], environment=dict(os.environ), log=sys.argv[1])
sys.stdin.read()
"""
TIDY = """
import signal, sys
def tidy(*_):
    open(sys.argv[2], "w").write("yes")
    sys.exit(0)
signal.signal(signal.SIGTERM, tidy)
open(sys.argv[1], "w").close()
signal.pause()
"""


def read_ids(pipe: int, count: int) -> list[int]:
    """The ids that `count` processes wrote."""
    said = b""
    while said.count(b"\n") < count:
        assert wait([pipe], PATIENCE_SECONDS), f"only {said!r} within {PATIENCE_SECONDS} s"
        said += os.read(pipe, 4096)
    return [int(number) for number in said.split()]


@contextmanager
def watching(ids: list[int]) -> Iterator[list[int]]:
    """File descriptors that become readable when the processes end; whatever still runs at the end
    is killed."""
    descriptors = [os.pidfd_open(number) for number in ids]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


def wait_for_the_end(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        assert wait([descriptor], PATIENCE_SECONDS), "a process outlived its parent"


@pytest.mark.parametrize("hearing", ["polite", "deaf"])
def test_a_killed_parent_takes_the_whole_tree_with_it(tmp_path: Path, hearing: str) -> None:
    """After kill -9 of the parent the command, its child and its grandchild end, also those that
    ignore SIGTERM."""
    fifo, log = tmp_path / "ids", str(tmp_path / "log")
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDWR)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, log, "-c", TREE, str(fifo), hearing], stdin=subprocess.PIPE
    )
    try:
        with watching(read_ids(reading, 3)) as descriptors:
            parent.kill()
            parent.wait()
            wait_for_the_end(descriptors)
    finally:
        parent.kill()
        parent.communicate()
        os.close(reading)


def run_guarded(tmp_path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return start_child(
        [sys.executable, *arguments], environment=dict(os.environ), log=tmp_path / "log"
    )


def test_the_exit_code_of_the_command_is_ours(tmp_path: Path) -> None:
    """A command that ends by itself, while the parent lives, is reported with its own code and
    without noise of ours."""
    process = run_guarded(tmp_path, "-c", "print('done'); raise SystemExit(3)")
    try:
        assert process.wait(PATIENCE_SECONDS) == 3
        assert (tmp_path / "log").read_text() == "done\n"
    finally:
        stop_child(process)


def test_a_command_that_was_killed_reports_the_signal_as_shells_do(tmp_path: Path) -> None:
    """Death by signal 9 is exit code 137."""
    process = run_guarded(tmp_path, "-c", "import os; os.kill(os.getpid(), 9)")
    try:
        assert process.wait(PATIENCE_SECONDS) == 137
    finally:
        stop_child(process)


@pytest.mark.parametrize("way", ["stop", "terminate"])
def test_a_stopped_command_may_tidy_up(tmp_path: Path, way: str) -> None:
    """Closing its input, or SIGTERM to the wrapper, reaches the command as SIGTERM, and it ends in
    its own way."""
    os.mkfifo(tmp_path / "ready")
    process = run_guarded(tmp_path, "-c", TIDY, str(tmp_path / "ready"), str(tmp_path / "tidy"))
    (tmp_path / "ready").read_bytes()  # opens, and ends, when the command has got there
    if way == "terminate":
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    stop_child(process)
    assert process.returncode == 0
    assert (tmp_path / "tidy").read_text() == "yes"


def test_stopping_what_has_ended_is_no_fault(tmp_path: Path) -> None:
    """A command that is gone can be stopped again and again."""
    process = run_guarded(tmp_path, "-c", "pass")
    process.wait(PATIENCE_SECONDS)
    stop_child(process)
    stop_child(process)
    assert process.returncode == 0
