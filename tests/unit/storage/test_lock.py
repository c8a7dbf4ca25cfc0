"""The lock: a single holder at a time, and a holder that dies releases it at once.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import Engine, event

from closedloop.errors import StoreError
from closedloop.storage import lock
from closedloop.storage.engine import open_engine
from closedloop.storage.lock import hold_file, hold_lock
from tests.postgres import postgres, postgres_url  # noqa: F401

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 30.0
# How long a broken lock has to let a second holder in; a correct one costs this much time.
MOMENT_SECONDS = 0.2

# Prints when it asks for the lock and when it holds it; ends with its input. Its child lives on.
HOLDER = """
import subprocess, sys
from closedloop.storage.engine import open_engine
from closedloop.storage.lock import hold_lock
engine = open_engine(sys.argv[1])
print("asking", flush=True)
with hold_lock(sys.argv[2], engine, "holder"):
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that asks for a lock and keeps it until `end`."""

    def __init__(self, url: str, name: str) -> None:
        # Unbuffered: `wait` does not see a line that waits in a buffer here.
        command = [sys.executable, "-c", HOLDER, url, name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.child: int | None = None

    def read_line(self, seconds: float) -> str | None:
        """Its next line; None when there is none for that long."""
        assert self.process.stdout is not None
        return (
            self.process.stdout.readline().decode()
            if wait([self.process.stdout], seconds)
            else None
        )

    def wait_until_asking(self) -> None:
        assert self.read_line(PATIENCE_SECONDS) == "asking\n"

    def wait_until_holding(self) -> None:
        line = self.read_line(PATIENCE_SECONDS)
        assert line, "it never got the lock"
        self.child = int(line)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def start(url: str) -> Iterator[Callable[..., Holder]]:
    started: list[Holder] = []

    def start_holder(name: str = "turn") -> Holder:
        started.append(Holder(url, name))
        return started[-1]

    yield start_holder
    for holder in started:
        with holder.process:
            holder.kill()
        if holder.child:
            os.kill(holder.child, 9)


def test_a_second_process_waits_until_the_first_has_ended(start: Callable[..., Holder]) -> None:
    """While a process holds the lock another waits for it, and gets it once the first ends; other
    names are free."""
    first = start()
    first.wait_until_asking()
    first.wait_until_holding()
    second, other = start(), start("another name")
    other.wait_until_asking()
    other.wait_until_holding()
    second.wait_until_asking()
    assert second.read_line(MOMENT_SECONDS) is None
    first.end()
    second.wait_until_holding()


def test_a_killed_holder_releases_it_at_once(start: Callable[..., Holder]) -> None:
    """kill -9 of the holder lets the next process in, though a child of the holder still runs."""
    holder = start()
    holder.wait_until_asking()
    holder.wait_until_holding()
    waiter = start()
    waiter.wait_until_asking()
    assert waiter.read_line(MOMENT_SECONDS) is None
    holder.kill()
    waiter.wait_until_holding()


def test_a_killed_waiter_does_not_keep_the_lock_from_others(
    start: Callable[..., Holder], engine: Engine
) -> None:
    """A process that was killed while it waited never holds the lock: the next one gets it."""
    with hold_lock("turn", engine, "test"):
        waiter = start()
        waiter.wait_until_asking()
        assert waiter.read_line(MOMENT_SECONDS) is None
        waiter.kill()
    next_holder = start()
    next_holder.wait_until_asking()
    next_holder.wait_until_holding()


def test_an_exception_in_the_block_releases_it(
    start: Callable[..., Holder], engine: Engine
) -> None:
    """The exception of the block comes out unchanged, the next process gets the lock, and no file
    stays open here."""
    gc.collect()  # what earlier tests left open is closed now, and not in the block
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError, match="mine"), hold_lock("turn", engine, "test"):
        raise RuntimeError("mine")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= open_before
    holder = start()
    holder.wait_until_asking()
    holder.wait_until_holding()


def test_threads_of_one_process_exclude_each_other(engine: Engine) -> None:
    """Two threads never hold the same lock at the same time."""
    entered = Event()

    def enter() -> None:
        with hold_lock("turn", engine, "test"):
            entered.set()

    thread = Thread(target=enter)
    with hold_lock("turn", engine, "test"):
        thread.start()
        assert not entered.wait(MOMENT_SECONDS)
    assert entered.wait(PATIENCE_SECONDS)
    thread.join()


def test_a_waiter_asks_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is a single call that returns with the lock, not a repeated attempt."""
    asked: list[str] = []
    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda *given: (asked.append("flock"), real(*given))[1])
    event.listen(
        engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement)
    )
    done = Event()

    def wait() -> None:
        with hold_lock("turn", engine, "test"):
            done.set()

    thread = Thread(target=wait)
    with hold_lock("turn", engine, "test"):
        thread.start()
        assert not done.wait(MOMENT_SECONDS)
    assert done.wait(PATIENCE_SECONDS)
    thread.join()
    asked = [what for what in asked if "set_config" not in what]
    assert len(asked) == 2  # by the holder and by the waiter


def test_whoever_waits_says_for_whom_and_since_when(
    start: Callable[..., Holder],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On stderr, after a moment and then again: the command, its process and when it began; a
    holder that was killed is not named any more once another has the lock."""
    monkeypatch.setattr(lock, "_FIRST_WORD_SECONDS", 0.01)
    monkeypatch.setattr(lock, "_NEXT_WORD_SECONDS", 0.01)
    told = ""
    for _ in range(2):
        holder = start()
        holder.wait_until_asking()
        holder.wait_until_holding()
        waiter = Thread(target=enter, args=(engine,))
        waiter.start()
        told = ""
        while told.count("waiting for holder since") < 2:
            waiter.join(0.01)
            told += capsys.readouterr().err
        holder.kill()
        waiter.join(PATIENCE_SECONDS)
        today = f"{datetime.now(UTC):%m-%d}"
        assert f"closedloop: waiting for holder since {today}" in told
        assert f"process {holder.process.pid} on" in told
        assert "(lock turn)" in told
    capsys.readouterr()


def enter(engine: Engine) -> None:
    with hold_lock("turn", engine, "test"):
        pass


def test_a_holder_that_cannot_be_named_is_waited_for_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that another program locked, or an older version that wrote no name."""
    monkeypatch.setattr(lock, "_FIRST_WORD_SECONDS", 0.01)
    path = tmp_path / "turn.lock"
    with path.open("wb") as file:
        file.write(b"\xff")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        waiter = Thread(target=lambda: hold_file(path).__enter__())
        waiter.start()
        told = ""
        while "another command" not in told:
            waiter.join(0.01)
            told += capsys.readouterr().err
    waiter.join(PATIENCE_SECONDS)
    assert not waiter.is_alive()


def test_no_database_is_a_store_error_and_the_block_is_not_entered(tmp_path: Path) -> None:
    """The error says what was wanted, what was found and what to do, without the password."""
    on_sqlite = open_engine(f"sqlite:///{tmp_path / 'store' / 'loop.db'}")
    (tmp_path / "store").rmdir()
    (tmp_path / "store").touch()
    on_postgresql = open_engine("postgresql://closedloop:secret@127.0.0.1:1/loop")
    for engine in (on_sqlite, on_postgresql):
        with (
            pytest.raises(StoreError, match=r"^lock turn") as caught,
            hold_lock("turn", engine, "test"),
        ):
            pytest.fail("entered without the lock")
        assert all((caught.value.wanted, caught.value.got, caught.value.then))
        assert "secret" not in str(caught.value)
