"""A Compose stack of a test's own: its project, secrets, ports and volumes. `make up` and the stack
of the tree are not touched.

Its images are those that `make up` built (or LOOP_IMAGE and API_IMAGE name), and the object store
is that of S3_IMAGE; both are taken from the environment, or else from the tree's .env.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a stack of any name shares with that of the tree: which programs it is made of.
_SHARED = re.compile(r"[A-Z0-9]+_IMAGE|S3_(COMMAND|ENDPOINT|REGION)")
_PORTS = {
    "CLOSEDLOOP_PORT": None,
    "CLOSEDLOOP_MLFLOW_PORT": "MLFLOW_PUBLIC_URL",
    "CLOSEDLOOP_PREFECT_PORT": "PREFECT_PUBLIC_URL",
    "CLOSEDLOOP_PAGE_PORT": None,
    "GRAFANA_PORT": None,
}


@dataclass(frozen=True)
class OwnStack:
    """A Compose project and its env file; `up` starts it, `remove` removes all of it."""

    project: str
    env_file: Path

    @classmethod
    def prepare(cls, folder: Path, **variables: str) -> OwnStack:
        """A new project whose env file is in `folder`, with secrets of its own and free ports;
        `variables` are added to the file."""
        stack = cls(
            f"closedloop-test-{secrets.token_hex(4)}", folder / f"env-{secrets.token_hex(4)}"
        )
        chosen = {**_shared(), **_free_ports(), **variables}
        stack.env_file.write_text(
            "".join(f"{name}={value}\n" for name, value in chosen.items()), encoding="utf-8"
        )
        subprocess.run(
            ["sh", ROOT / "stack" / "make-env.sh", stack.env_file], check=True, capture_output=True
        )
        return stack

    def run(
        self,
        *command: str | Path,
        given: bytes | None = None,
        timeout: float = 300,
        **variables: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the tree, where `docker compose` means this stack; the exit code is the
        caller's to look at."""
        environment = _without_stack() | {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_ENV_FILES": str(self.env_file),
            **variables,
        }
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            input=given or b"",
            capture_output=True,
            timeout=timeout,
        )

    def compose(self, *words: str, given: bytes | None = None, timeout: float = 300) -> str:
        """What `docker compose WORDS` prints; the test fails when the command does."""
        done = self.run(
            "docker", "compose", "--progress", "quiet", *words, given=given, timeout=timeout
        )
        if done.returncode:
            pytest.fail(
                f"docker compose {' '.join(words)} ended with {done.returncode}\n"
                f"{_tail(done.stdout)}\n{_tail(done.stderr)}"
            )
        return done.stdout.decode()

    def up(self, *services: str, timeout: float = 600) -> None:
        """Start services and what they need, and wait until they are healthy.

        Otherwise the test fails with the last lines of all logs.
        """
        command = [
            "docker",
            "compose",
            "--progress",
            "quiet",
            "up",
            "--detach",
            "--wait",
            *services,
        ]
        if self.run(*command, timeout=timeout).returncode:
            logs = self.compose("logs", "--no-color", "--tail", "25")
            pytest.fail(f"{' '.join(services)} did not start\n{logs}")

    def job(
        self, service: str, *words: str, given: bytes | None = None, timeout: float = 300
    ) -> str:
        """What a command prints in a new container of that service."""
        return self.compose(
            "run", "--rm", "--no-deps", "-T", service, *words, given=given, timeout=timeout
        )

    def read(self, variable: str) -> str:
        """The value of a variable of the env file: a secret, a port."""
        return _read_file(self.env_file)[variable]

    def address(self, port_variable: str) -> str:
        """Where a published service answers, for instance that of CLOSEDLOOP_MLFLOW_PORT."""
        return f"http://127.0.0.1:{self.read(port_variable)}"

    def config(self) -> dict[str, Any]:
        """The Compose file as Compose understands it, all variables filled in."""
        return dict(json.loads(self.compose("config", "--format", "json")))

    def remove(self) -> None:
        """Remove its containers, networks and volumes, even after an interrupted test."""
        label = f"label=com.docker.compose.project={self.project}"
        left = (
            self.run("docker", "ps", "--all", "--quiet", "--filter", label).stdout.decode().split()
        )
        if left:
            self.run("docker", "rm", "--force", "--volumes", *left)
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans")


def require_docker() -> None:
    """Skip the test where no Docker engine answers."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "version"], capture_output=True).returncode
    ):
        pytest.skip("no Docker engine answers here")


def require_images(stack: OwnStack) -> None:
    """Fail the test when the stack's own images are not built."""
    wanted = {stack.config()["services"][service]["image"] for service in ("databases", "api")}
    missing = [
        image
        for image in sorted(wanted)
        if stack.run("docker", "image", "inspect", image).returncode
    ]
    if missing:
        pytest.fail(f"not on this machine: {', '.join(missing)}; make up builds them")


def _shared() -> dict[str, str]:
    known = _read_file(ROOT / ".env") if (ROOT / ".env").exists() else {}
    return {
        name: value for name, value in {**known, **os.environ}.items() if _SHARED.fullmatch(name)
    }


def _without_stack() -> dict[str, str]:
    """The environment without the variables of the Compose file, which would override env files."""
    named = set(
        re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    )
    return {
        name: value
        for name, value in os.environ.items()
        if name not in named and not name.startswith(("COMPOSE_", "MAKE", "MFLAGS"))
    }


def _read_file(path: Path) -> Mapping[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _free_ports() -> dict[str, str]:
    chosen: dict[str, str] = {}
    with ExitStack() as held:  # all at once, so that they differ
        for name, public in _PORTS.items():
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            chosen[name] = str(probe.getsockname()[1])
            if public:
                chosen[public] = f"http://localhost:{chosen[name]}"
    return chosen


def _tail(output: bytes) -> str:
    return "\n".join(output.decode(errors="replace").splitlines()[-25:])
