"""A running `closedloop up`: how to start it, ask it, and end it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.operations.access.ask import ask
from closedloop.operations.access.servers_file import find_running
from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop, open_loop
from tests.waiting import until

ROWS = 2400


MONTHS = ("2026-01", "2026-02")


@dataclass
class Stack:
    """A running `closedloop up` and where its parts are."""

    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[str]
    said: str = ""

    def address(self, part: str) -> str:
        """Where MLFLOW, PREFECT or API listens."""
        return f"http://127.0.0.1:{self.ports[part]}"

    def ask(self, part: str, path: str, content: Any = None) -> Any:
        """What MLFLOW, PREFECT or API answers, with the login that the command gave it; a Prefect
        whose database is busy (503) is asked again, as its clients do."""
        name = {"MLFLOW": "MLflow", "PREFECT": "Prefect"}.get(part, part)
        server = find_running(self.folder / "home").get(name)
        login = server.login if server else ""

        def answer() -> list[Any] | None:
            try:
                return [json.loads(ask(f"{self.address(part)}{path}", login, content, timeout=30))]
            except urllib.error.HTTPError as error:
                if (part, error.code) != ("PREFECT", 503):
                    raise
                return None

        return until(answer, f"an answer of {part}")[0]

    def loop(self) -> Loop:
        """Its use case, opened from outside, with the addresses that the stack shows."""
        return open_loop(
            self.folder / "loop.toml",
            settings=Settings(
                home=self.folder / "home", data=None, mlflow_port=self.ports["MLFLOW"]
            ),
        )

    def run_deployment(self, deployment: str, **parameters: str) -> str:
        """Ask Prefect for a run, as its page does; returns the id of the run."""
        found = self.ask("PREFECT", f"/api/deployments/name/{deployment}")
        content = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        start = f"/api/deployments/{found['id']}/create_flow_run"
        return str(self.ask("PREFECT", start, content)["id"])

    def state_of(self, run: str) -> str:
        return str(self.ask("PREFECT", f"/api/flow_runs/{run}")["state_type"])

    def end_of(self, run: str) -> str:
        """Wait for the run's end; how it ended."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        return str(until(lambda: (state := self.state_of(run)) in ends and state, "the run's end"))

    def decisions(self, window: str) -> list[Entry]:
        return [
            entry
            for entry in self.loop().journal.history("customers")
            if entry.decision.window == window
        ]


def stack_ports() -> dict[str, int]:
    """Free ports for the parts of a stack; behind that of the PAGE, one for a second page."""
    while True:
        ports = free_ports("API", "MLFLOW", "PREFECT", "PAGE")
        second = ports["PAGE"] + 1
        if second in ports.values():
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", second)):
            return ports


def free_ports(*names: str) -> dict[str, int]:
    """A port for each name that nobody listens on."""
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names
        }
        return {name: listening.getsockname()[1] for name, listening in sockets.items()}


def start(folder: Path, ports: dict[str, int]) -> Stack:
    """Start `closedloop up` of both use cases in a folder, with nothing in the environment that
    points elsewhere."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_"))
    }
    chosen = {
        "CLOSEDLOOP_HOME": "home",
        "CLOSEDLOOP_USE_CASES": "loop.toml,visitors.toml",
        "CLOSEDLOOP_REPORT_WINDOWS": "all",
        "UP_OF": str(folder),
        "CLOSEDLOOP_PORT": str(ports["API"]),
        "CLOSEDLOOP_MLFLOW_PORT": str(ports["MLFLOW"]),
        "CLOSEDLOOP_PREFECT_PORT": str(ports["PREFECT"]),
        "CLOSEDLOOP_PAGE_PORT": str(ports["PAGE"]),
    }
    with open(folder / "up.err", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "closedloop", "up"],
            cwd=folder,
            env={**clean, **chosen},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return Stack(folder, ports, process)


def status_of(
    address: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> int:
    """The status of an answer to a request of our own."""
    try:
        request = urllib.request.Request(address, body, headers or {})
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def wait_until_up(stack: Stack) -> None:
    """Read what the command says until it says how to stop it."""
    assert stack.process.stdout is not None
    for line in stack.process.stdout:
        stack.said += line
        if "Ctrl-C" in line:
            return
    logs = "".join(
        f"\n== {log.name}\n{log.read_text()[-2000:]}"
        for log in (stack.folder / "home" / "logs").glob("*.log")
    )
    pytest.fail(f"closedloop up ended: {(stack.folder / 'up.err').read_text()}{logs}")


def processes_of(folder: Path) -> set[int]:
    """Every process that descends from a stack of this folder, by a variable that all of them
    inherit."""
    mark, found = f"UP_OF={folder}".encode(), set()
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in place.read_bytes().split(b"\0"):
                found.add(int(place.parent.name))
        except OSError:  # it ended meanwhile, or is not ours
            continue
    return found


def end(stack: Stack, number: int) -> int:
    """Send a signal to the command alone and wait until every process of the stack is gone; the
    command's exit code."""
    watched = {}
    for process in processes_of(stack.folder):
        with suppress(ProcessLookupError):  # it ended meanwhile, as short-lived ones do
            watched[os.pidfd_open(process)] = process
    assert stack.process.pid in watched.values()
    os.kill(stack.process.pid, number)
    deadline = time.monotonic() + 60
    while watched:
        ended = wait(list(watched), max(0.0, deadline - time.monotonic()))
        left = (
            {
                process: Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")[:120]
                for process in watched.values()
            }
            if not ended
            else {}
        )
        assert ended, f"still there: {left}"
        for descriptor in ended:
            watched.pop(descriptor)
            os.close(descriptor)
    assert processes_of(stack.folder) <= {stack.process.pid}
    return stack.process.wait()


def write_customers(folder: Path) -> None:
    """Two months of customers, the second one older, and the loop.toml that `init` writes for
    them; a second use case, visitors, looks at the same table."""
    random, months = np.random.default_rng(5), []
    for number, month in enumerate(MONTHS):
        age, visits = random.normal(40 + 8 * number, 10, ROWS).round(1), random.poisson(4, ROWS)
        left = np.where(
            random.random(ROWS) < 1 / (1 + np.exp(0.5 - 0.08 * (age - 40) + 0.3 * (visits - 4))),
            "yes",
            "no",
        )
        months.append(pd.DataFrame({"month": month, "age": age, "visits": visits, "left": left}))
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(months).to_csv(folder / "customers.csv", index=False)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "closedloop",
            "init",
            "customers.csv",
            "--target",
            "left",
            "--window-column",
            "month",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )
    text = (folder / "loop.toml").read_text()
    for old, new in {
        'cron = "0 6 * * *"': 'cron = "15 4 * * *"',
        'timezone = "UTC"': 'timezone = "Europe/Berlin"',
    }.items():
        assert old in text, f"init no longer writes {old}"
        text = text.replace(old, new)
    (folder / "loop.toml").write_text(text)
    named = 'name = "customers"'
    assert named in text
    (folder / "visitors.toml").write_text(text.replace(named, 'name = "visitors"'))
