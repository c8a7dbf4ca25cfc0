"""`closedloop up` for real: all of it starts together, a run asked for in Prefect turns the loop,
and nothing is left behind.

The tests of this file share one stack and go through its life in the order in which they stand; the
last one cuts its power.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.settings import Settings
from closedloop.storage.journal import Entry
from closedloop.turn.open import Loop, open_loop
from tests.waiting import until

pytestmark = pytest.mark.slow

ROWS = 2400
MONTHS = ("2026-01", "2026-02")
CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)


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
        found = ask(f"{self.address('PREFECT')}/api/deployments/name/{deployment}")
        content = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return str(
            ask(
                f"{self.address('PREFECT')}/api/deployments/{found['id']}/create_flow_run", content
            )["id"]
        )

    def state_of(self, run: str) -> str:
        return str(ask(f"{self.address('PREFECT')}/api/flow_runs/{run}")["state_type"])

    def end_of(self, run: str) -> str:
        """Wait for the run's end; how it ended."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        return str(until(lambda: (state := self.state_of(run)) in ends and state, "the run's end"))

    def decisions(self, window: str) -> list[Entry]:
        return [
            one for one in self.loop().journal.history("customers") if one.decision.window == window
        ]


def ask(address: str, content: Any = None) -> Any:
    """GET, or POST of JSON; the answer read as JSON."""
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(
        urllib.request.Request(address, body, {"Content-Type": "application/json"}), timeout=30
    ) as response:
        return json.load(response)


def free_ports(*names: str) -> dict[str, int]:
    """A port for each name that nobody listens on."""
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names
        }
        return {name: one.getsockname()[1] for name, one in sockets.items()}


def start(folder: Path, ports: dict[str, int]) -> Stack:
    """Start `closedloop up` in a folder, with nothing in the environment that points elsewhere."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_"))
    }
    chosen = {
        "CLOSEDLOOP_HOME": "home",
        "UP_OF": str(folder),
        "CLOSEDLOOP_PORT": str(ports["API"]),
        "CLOSEDLOOP_MLFLOW_PORT": str(ports["MLFLOW"]),
        "CLOSEDLOOP_PREFECT_PORT": str(ports["PREFECT"]),
    }
    with open(folder / "up.err", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "closedloop", "up", "--use-case", "loop.toml"],
            cwd=folder,
            env={**clean, **chosen},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return Stack(folder, ports, process)


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
    watched = {os.pidfd_open(one): one for one in processes_of(stack.folder)}
    assert stack.process.pid in watched.values()
    os.kill(stack.process.pid, number)
    deadline = time.monotonic() + 60
    while watched:
        ended, _, _ = select.select(list(watched), [], [], max(0.0, deadline - time.monotonic()))
        left = (
            {
                one: Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ")[:120]
                for one in watched.values()
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
    them."""
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


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack that the tests below share; whatever happens, its processes are gone afterwards."""
    folder = tmp_path_factory.mktemp("up")
    write_customers(folder)
    started = start(folder, free_ports("API", "MLFLOW", "PREFECT"))
    try:
        wait_until_up(started)
        yield started
    finally:
        for one in processes_of(folder):
            os.kill(one, signal.SIGKILL)
        started.process.wait()


def test_every_part_answers_where_the_command_says(stack: Stack) -> None:
    """MLflow, Prefect and the API answer at the printed addresses; without a model the API is
    alive, not ready, and says how to get one."""
    for part, path in (("MLFLOW", "/health"), ("PREFECT", "/api/health"), ("API", "/health")):
        assert stack.address(part) in stack.said
        with urllib.request.urlopen(f"{stack.address(part)}{path}", timeout=30) as response:
            assert response.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{stack.address('API')}/ready")
    assert refused.value.code == 503
    assert "closedloop monitor" in refused.value.read().decode()
    assert "no model yet" in stack.said


def test_prefect_holds_both_deployments(stack: Stack) -> None:
    """One is scheduled as loop.toml says and has its next runs, the other waits to be asked; the
    form of both offers the windows, newest first, and the sources. What only people start is there,
    too."""
    api = f"{stack.address('PREFECT')}/api"

    def found() -> list[dict[str, Any]]:
        return [
            ask(f"{api}/deployments/name/{name}")
            for name in ("monitor/customers", "train-and-compare/customers")
        ]

    until(
        lambda: all(
            "enum" in one["parameter_openapi_schema"]["properties"]["window"] for one in found()
        ),
        "the windows in the forms",
    )
    monitor, train = found()
    assert [
        (one["schedule"]["cron"], one["schedule"]["timezone"]) for one in monitor["schedules"]
    ] == [("15 4 * * *", "Europe/Berlin")]
    assert train["schedules"] == []
    for one in (monitor, train):
        form = one["parameter_openapi_schema"]["properties"]
        assert form["window"]["enum"] == ["", *reversed(MONTHS)]
        assert form["source"]["enum"] == ["windows", "records"]
        assert one["parameters"] == {"use_case": str(stack.folder / "loop.toml")}
    for name in ("rollback", "probation", "prune"):
        assert ask(f"{api}/deployments/name/{name}/customers")["parameters"] == {
            "use_case": str(stack.folder / "loop.toml")
        }
    waiting = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"id": {"any_": [monitor["id"]]}},
    }
    assert until(lambda: ask(f"{api}/flow_runs/count", waiting), "a scheduled run") >= 1


def test_a_run_asked_for_in_prefect_turns_the_loop(stack: Stack) -> None:
    """The run completes, the journal holds its decisions, the API answers with the new model, and
    the log is in Prefect."""
    run = stack.run_deployment("monitor/customers", window=MONTHS[0])
    assert stack.end_of(run) == "COMPLETED", (
        stack.folder / "home/logs/deployments.log"
    ).read_text()[-3000:]
    assert [one.decision.action.value for one in stack.decisions(MONTHS[0])][:2] == [
        "retrain",
        "promote",
    ]

    def answer() -> Any:
        try:
            return ask(f"{stack.address('API')}/predict", {"rows": [{"age": 41.0, "visits": 3}]})
        except urllib.error.HTTPError:
            return None

    assert until(answer, "an answer of the API")["version"] == 1
    logged = {"logs": {"flow_run_id": {"any_": [run]}}}
    assert ask(f"{stack.address('PREFECT')}/api/logs/filter", logged)


def test_the_report_of_a_decision_is_served(stack: Stack) -> None:
    """The address in the journal leads to this MLflow, which serves the drift report of that
    run."""
    assert stack.end_of(stack.run_deployment("monitor/customers", window=MONTHS[1])) == "COMPLETED"
    entry = stack.decisions(MONTHS[1])[0]
    assert entry.details["report"].startswith(f"{stack.address('MLFLOW')}/#/experiments/")
    with urllib.request.urlopen(artifact_of(stack, entry), timeout=30) as response:
        assert b"visits" in response.read()


def artifact_of(stack: Stack, entry: Entry) -> str:
    """Where MLflow serves the drift report as a file."""
    return f"{stack.address('MLFLOW')}/get-artifact?path=drift_report.html&run_uuid={entry.details['run']}"


def dom_of(address: str, profile: Path) -> str:
    """The page as a browser has it after its scripts ran."""
    assert CHROMIUM is not None
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ]
    return subprocess.run(
        [CHROMIUM, *flags, "--virtual-time-budget=30000", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
def test_a_browser_shows_the_pages(stack: Stack, tmp_path: Path) -> None:
    """MLflow frames the report, the report draws its columns, and Prefect's page works under the
    name `localhost` too."""
    from closedloop.cli.decision_view import report_link

    entry = stack.decisions(MONTHS[1])[0]
    link = report_link(stack.loop(), entry)
    assert link is not None
    page = dom_of(link, tmp_path / "one")
    assert f"monitor {MONTHS[1]}" in page
    assert 'src="blob:' in page, "MLflow shows no frame with the report"
    urllib.request.urlretrieve(artifact_of(stack, entry), tmp_path / "report.html")
    assert "visits" in dom_of((tmp_path / "report.html").as_uri(), tmp_path / "two")
    deployments = dom_of(
        f"http://localhost:{stack.ports['PREFECT']}/deployments", tmp_path / "three"
    )
    assert "customers" in deployments


def test_a_second_stack_on_the_same_home_is_refused(stack: Stack) -> None:
    """Two servers on one database would hurt each other: the second command says so and starts
    nothing."""
    second = start(stack.folder, free_ports("API", "MLFLOW", "PREFECT"))
    assert second.process.wait(timeout=60) == 1
    said = (stack.folder / "up.err").read_text()
    assert said.count("\n") == 1
    assert "while another runs" in said


def test_after_a_power_cut_the_loop_turns_again(stack: Stack) -> None:
    """kill -9 in the middle of a run leaves no process; the next start gives the dead run up: later
    ones need not wait for it."""
    run = stack.run_deployment("train-and-compare/customers", window=MONTHS[1])
    until(lambda: stack.state_of(run) == "RUNNING", "the run's start")
    assert end(stack, signal.SIGKILL) == -signal.SIGKILL
    again = start(stack.folder, stack.ports)
    try:
        wait_until_up(again)
        until(lambda: again.state_of(run) == "CRASHED", "the dead run's end")
        limits = ask(f"{again.address('PREFECT')}/api/v2/concurrency_limits/filter", {})
        assert [one["active_slots"] for one in limits] == [0, 0]
        assert end(again, signal.SIGTERM) == 0
    finally:
        again.process.kill()


def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C before everything is up ends what was started so far."""
    write_customers(tmp_path)
    early = start(tmp_path, free_ports("API", "MLFLOW", "PREFECT"))
    try:
        until(lambda: (tmp_path / "home/logs/mlflow.log").exists(), "the first part's start")
        assert end(early, signal.SIGINT) == 0
    finally:
        early.process.kill()
    assert (tmp_path / "up.err").read_text() == ""
