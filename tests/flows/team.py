"""A team's Prefect for tests: a real server, workers that can be killed, and its REST API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from closedloop.operations.child_process import start_child, stop_child
from closedloop.settings import Settings
from closedloop.turn.open import Loop, open_loop
from tests.waiting import free_port, until

REPOSITORY = Path(__file__).resolve().parents[2]
MARK = "TEAM_OF_TEST"
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Team:
    """A server, a use case and the processes started for them; `stop` ends them all.

    `prefect_database` is the server's database, `store` that of journal and records.
    """

    folder: Path
    path: Path
    prefect_database: str
    store: str
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process: no settings of the caller, and no telemetry."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_"))
        }
        quiet = Settings(home=self.folder / "home").library_environment()
        ours = {
            "CLOSEDLOOP_HOME": str(self.folder / "home"),
            "CLOSEDLOOP_TRAIN_SEPARATELY": "True",
            "OMP_NUM_THREADS": "1",
            "CLOSEDLOOP_DATABASE_URL": self.store,
            "PREFECT_API_URL": self.url,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)]),
        }
        return {**clean, **quiet, **ours, MARK: str(self.folder)}

    def start_server(self) -> None:
        """Start the server; `wait_for_server` waits for its first answer."""
        (self.folder / "home").mkdir()
        settings = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.prefect_database,
            "PREFECT_UI_ENABLED": "0",
            "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
            "PREFECT_API_URL": "",
        }
        self._start(
            ["server", "start", "--host", "127.0.0.1", "--port", str(self.port)], "server", settings
        )

    def wait_for_server(self) -> None:
        """Wait until the server answers."""

        def answers() -> bool:
            assert self.started[0].poll() is None, (self.folder / "server.log").read_text()[-2000:]
            try:
                return bool(self.ask("/health"))
            except OSError:
                return False

        until(answers, "Prefect's first answer")

    def start_worker(self, pool: str, *flags: str) -> subprocess.Popen[bytes]:
        """Start a process worker that polls every second."""
        return self._start(
            ["worker", "start", "--pool", pool, "--type", "process", *flags],
            pool,
            {"PREFECT_WORKER_QUERY_SECONDS": "1"},
        )

    def _start(
        self, command: list[str], name: str, more: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in {**self.environment, **more}.items() if value}
        log = self.folder / f"{name}.log"
        self.started.append(
            start_child(
                [sys.executable, "-m", "prefect", *command], environment=environment, log=log
            )
        )
        return self.started[-1]

    def stop(self) -> None:
        """End all that was started, workers before the server."""
        for process in reversed(self.started):
            stop_child(process)
        self.kill(lambda command: True)

    def kill(self, chosen: Callable[[str], bool]) -> int:
        """`kill -9` the team's processes whose command line is chosen; returns how many."""
        mark, killed = f"{MARK}={self.folder}".encode(), 0
        for place in Path("/proc").glob("[0-9]*"):
            try:
                ours = mark in (place / "environ").read_bytes().split(b"\0")
                if ours and chosen((place / "cmdline").read_bytes().replace(b"\0", b" ").decode()):
                    os.kill(int(place.name), signal.SIGKILL)
                    killed += 1
            except OSError:  # it ended meanwhile, or is not ours
                continue
        return killed

    def ask(self, path: str, content: Any = None, method: str | None = None) -> Any:
        """GET, or POST JSON; returns the answer's JSON. A busy server (503) is asked again, as
        Prefect's clients do."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            self.url + path, body, {"Content-Type": "application/json"}, method=method
        )

        def answer() -> tuple[Any] | None:
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    return (json.loads(response.read() or b"null"),)
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
                return None

        return until(answer, path)[0]

    def deploy(self, *paths: Path) -> list[str]:
        """Do what the stack's `deploy` service does; returns the lines it prints."""
        environment = {**self.environment, "CLOSEDLOOP_USE_CASES": ",".join(map(str, paths))}
        done = subprocess.run(
            [sys.executable, "-m", "flows.deployment.deploy"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def deployment(self, name: str) -> dict[str, Any]:
        return dict(self.ask(f"/deployments/name/{name}"))

    def run(self, deployment: str, **parameters: str) -> str:
        """Start a run as Prefect's page does; returns its id."""
        content = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return str(
            self.ask(f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", content)[
                "id"
            ]
        )

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Every run of a deployment that is due, in the order of its expected start."""
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        wanted = {
            "deployments": {"id": {"any_": [self.deployment(deployment)["id"]]}},
            "sort": "EXPECTED_START_TIME_ASC",
            "flow_runs": {"expected_start_time": {"before_": soon}},
        }
        return list(self.ask("/flow_runs/filter", wanted))

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.ask(f"/flow_runs/{run}")["state"])

    def end_of(self, run: str) -> dict[str, Any]:
        """Wait for a run's end; returns its final state."""
        return dict(
            until(
                lambda: (state := self.state(run))["type"] in ENDS and state,
                f"the end of run {run}",
            )
        )

    def slots_taken(self, deployment: str) -> int:
        """How many slots of its concurrency limit are taken."""
        return int(self.deployment(deployment)["global_concurrency_limit"]["active_slots"])

    def loop(self) -> Loop:
        """The use case, opened by the test."""
        settings = Settings(
            home=self.folder / "home", data=None, database_url=self.store, mlflow_url=None
        )
        return open_loop(self.path, settings=settings)
