"""A running Compose stack as its users see it: commands, API, Prefect's and MLflow's servers."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Answer:
    """What an HTTP server said; `status` 0 when it could not be reached at all."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stack:
    """A stack by its project and env file; nothing is started or stopped here."""

    project: str = field(
        default_factory=lambda: os.environ.get("COMPOSE_PROJECT_NAME", "closedloop")
    )
    env_file: Path = ROOT / ".env"
    profiles: tuple[str, ...] = field(default=())

    def compose(
        self, *words: str, check: bool = True, stdin: str | None = None, timeout: float = 600.0
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose WORDS`; an AssertionError with what it said when it fails."""
        profiles = [word for name in self.profiles for word in ("--profile", name)]
        command = [
            "docker",
            "compose",
            "--project-name",
            self.project,
            "--env-file",
            str(self.env_file),
            *profiles,
            *words,
        ]
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        return done

    def closedloop(self, *words: str, check: bool = True) -> str:
        """What a command of ours prints where the flows run."""
        return self.compose(
            "exec", "--no-TTY", "prefect-worker", "closedloop", *words, check=check
        ).stdout

    def sql(self, query: str, database: str = "closedloop") -> str:
        """What PostgreSQL answers to one query, as text without decoration."""
        words = ("psql", "-U", "postgres", "-d", database, "-Atc", query)
        return self.compose("exec", "--no-TTY", "postgres", *words).stdout.strip()

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The variables of its file."""
        lines = [
            line
            for line in self.env_file.read_text(encoding="utf-8").splitlines()
            if "=" in line and not line.startswith("#")
        ]
        return dict(line.split("=", 1) for line in lines)

    def address(self, service: str, port: int) -> str:
        """Where a service is published on this machine, without the protocol."""
        return self.compose("port", service, str(port)).stdout.strip()

    @cached_property
    def api(self) -> str:
        return f"http://{self.address('api', 8080)}"

    @cached_property
    def mlflow(self) -> str:
        return f"http://{self.address('mlflow', 5000)}"

    @cached_property
    def prefect(self) -> str:
        return f"http://{self.address('prefect-server', 4200)}"

    # The API

    def ask(
        self, path: str, body: Any = None, *, key: str | None = None, timeout: float = 30.0
    ) -> Answer:
        """A request to the API, with the stack's key unless another is given."""
        headers = {
            "X-API-Key": self.secrets["STACK_API_KEY"] if key is None else key,
            "Content-Type": "application/json",
        }
        return fetch(f"{self.api}{path}", body, headers, timeout)

    def wait_for_version(self, version: int, seconds: float = 60.0) -> None:
        """Return when this version answers."""
        deadline, got = time.monotonic() + seconds, Answer(0, b"")
        while time.monotonic() < deadline:
            got = self.ask("/model")
            if got.status == 200 and got.json()["version"] == version:
                return
            time.sleep(0.1)
        raise AssertionError(
            f"wanted version {version} to answer, got {got.status}: {got.body[:300]!r}"
        )

    # Prefect, by its own interface, as its pages use it

    def ask_prefect(
        self, path: str, body: Any = None, *, method: str | None = None, login: str | None = None
    ) -> Answer:
        """A request to Prefect's API, with the stack's login unless another is given."""
        login = self.secrets["PREFECT_AUTH_STRING"] if login is None else login
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}),
        }
        return fetch(f"{self.prefect}/api{path}", body, headers, 30.0, method)

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run of `flow/deployment` as the button on its page does; returns the run's
        id."""
        found = self.ask_prefect(f"/deployments/name/{deployment}")
        assert found.status == 200, f"{deployment}: {found.status} {found.body[:300]!r}"
        body = {
            "parameters": {**found.json()["parameters"], **parameters},
            "state": {"type": "SCHEDULED"},
        }
        made = self.ask_prefect(f"/deployments/{found.json()['id']}/create_flow_run", body)
        assert made.status in (200, 201), made.body[:500]
        run: str = made.json()["id"]
        return run

    def run(self, number: str) -> dict[str, Any]:
        """A flow run as Prefect tells it."""
        found: dict[str, Any] = self.ask_prefect(f"/flow_runs/{number}").json()
        return found

    def wait_for_run(self, number: str, seconds: float = 300.0) -> dict[str, Any]:
        """The run once it has ended, however it ended."""
        deadline, run = time.monotonic() + seconds, {}
        while time.monotonic() < deadline:
            answer = self.ask_prefect(f"/flow_runs/{number}")
            run = answer.json() if answer.status == 200 else run
            if run.get("state_type") in FINAL:
                return run
            time.sleep(0.5)
        raise AssertionError(f"run {number} has not ended in {seconds:.0f} s: {run.get('state')}")

    def children(self, number: str) -> list[dict[str, Any]]:
        """The runs that a run started."""
        found: list[dict[str, Any]] = self.ask_prefect(
            "/flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [number]}}}
        ).json()
        return found

    def complete(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """A run of a deployment and of what it started, all of which completed; returns the
        first."""
        run = self.wait_for_run(self.start_run(deployment, **parameters))
        assert run["state_type"] == "COMPLETED", run["state"]
        for child in self.children(run["id"]):
            ended = self.wait_for_run(child["id"])
            assert ended["state_type"] == "COMPLETED", ended["state"]
        return run


def fetch(
    url: str, body: Any, headers: dict[str, str], timeout: float, method: str | None = None
) -> Answer:
    """One request; a refusal is an answer, and so is no connection (status 0)."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except (urllib.error.URLError, OSError) as error:
        return Answer(0, str(error).encode())
