"""A server's processes: started alone, awaited, weighed and stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from closedloop.errors import ClosedLoopError

START_SECONDS, STOP_SECONDS = 180.0, 60.0
_BETWEEN_QUESTIONS_SECONDS = 0.005


@dataclass(frozen=True)
class Memory:
    """What one process holds, in MB of a million bytes: `rss` counts all, `pss` its share of what
    is shared."""

    rss: float
    pss: float | None


@dataclass(frozen=True)
class Running:
    """A server that answers; `start_seconds` from the start of its process to its first answer
    200."""

    port: int
    pid: int
    start_seconds: float

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str],
    port: int,
    path: str,
    body: str | bytes,
    *,
    environment: dict[str, str],
    folder: Path,
) -> Iterator[Running]:
    """A server for the duration of the block, from its first answer 200 to `body` on; it and all
    that it started end with the block.

    Raises ClosedLoopError, with the end of its log, when it ends or does not answer in time.
    """
    log = folder / "log"
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_answer(process, port, path, body, log)
        yield Running(port, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(port: int, path: str, body: str | bytes) -> tuple[int, bytes]:
    """Status and content of one POST; OSError or HTTPException when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _await_answer(
    process: subprocess.Popen[bytes], port: int, path: str, body: str | bytes, log: Path
) -> None:
    deadline, got = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < deadline:
        try:
            status, content = ask(port, path, body)
            if status == 200:
                return
            got = f"status {status}: {content[:300].decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            got = str(error) or type(error).__name__
        # Nothing tells when a port begins to answer; the end of the process is waited for between
        # two questions.
        with contextlib.suppress(subprocess.TimeoutExpired):
            got = f"its end with code {process.wait(_BETWEEN_QUESTIONS_SECONDS)}"
            break
    printed = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise ClosedLoopError(
        where=path,
        wanted="a server that answers 200",
        got=f"{got}; it printed: {printed}",
        then="start it by hand",
    )


def weigh_workers(pid: int, proc: Path = Path("/proc")) -> list[Memory]:
    """Memory of the processes that answer: those under `pid`, itself included, that started no
    others. Empty where there is no /proc."""
    parents = _read_parents(proc)
    family, waiting = [], [pid]
    while waiting:
        member = waiting.pop()
        family.append(member)
        waiting += [child for child, parent in parents.items() if parent == member]
    # Python's own process that tidies up after a pool answers nobody.
    working = [
        member
        for member in family
        if member == pid or b"resource_tracker" not in _read(proc / str(member) / "cmdline")
    ]
    leaves = [
        member
        for member in sorted(working)
        if not any(parents.get(other) == member for other in working)
    ]
    return [memory for leaf in leaves if (memory := _weigh(proc / str(leaf)))]


def _read_parents(proc: Path) -> dict[int, int]:
    """Process -> its parent, for all there are."""
    found = {}
    for stat in proc.glob("[0-9]*/stat"):
        _, _, behind_name = _read(stat).rpartition(b")")
        if behind_name:
            found[int(stat.parent.name)] = int(behind_name.split()[1])
    return found


def _weigh(folder: Path) -> Memory | None:
    sums = {
        line.split()[0]: int(line.split()[1]) * 1024 / 1e6
        for line in _read(folder / "smaps_rollup").splitlines()[1:]
    }
    return Memory(sums[b"Rss:"], sums.get(b"Pss:")) if b"Rss:" in sums else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile, or is somebody else's
        return b""
