"""A team's MLflow for tests of `closedloop migrate`: a real server with a login and artifacts."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from closedloop.operations.child_process import start_child, stop_child
from tests.contracts.backends import START_SECONDS, answers, wait

# The stack's own, with another database.
_LOGIN = Path(__file__).resolve().parents[1] / "stack" / "mlflow"


@dataclass(frozen=True)
class TeamMlflow:
    """Its address, the database of its users, and the login of one without admin rights."""

    uri: str
    users: str
    user: str
    password: str

    @property
    def login(self) -> dict[str, str]:
        """The variables that MLflow's client reads."""
        return {"MLFLOW_TRACKING_USERNAME": self.user, "MLFLOW_TRACKING_PASSWORD": self.password}


@pytest.fixture(scope="module")
def starting_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], TeamMlflow]]:
    """Start a server for a module; calling the fixture waits until it answers."""
    home, admin = tmp_path_factory.mktemp("team"), secrets.token_hex(16)
    login = (_LOGIN / "basic_auth.ini").read_text(encoding="utf-8")
    (home / "login.ini").write_text(
        re.sub("(?m)^database_uri = .*$", f"database_uri = sqlite:///{home}/users.db", login),
        encoding="utf-8",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        uri.rpartition(":")[2],
        "--workers",
        "1",
        "--app-name",
        "basic-auth",
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "files"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "PYTHONPATH": os.pathsep.join([str(_LOGIN), *sys.path]),
        "MLFLOW_AUTH_CONFIG_PATH": str(home / "login.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": admin,
    }
    process = start_child(command, environment=environment, log=home / "log")

    def wait_for_it() -> TeamMlflow:
        deadline = monotonic() + START_SECONDS
        while not answers(f"{uri}/health"):
            # Nothing tells when a port begins to answer; the end of the process is waited for
            # between two questions.
            ended = wait(process, 0.2)
            assert not ended, f"it ended: {(home / 'log').read_text()}"
            assert monotonic() < deadline, f"no answer: {(home / 'log').read_text()}"
        return _add_user(TeamMlflow(uri, f"sqlite:///{home}/users.db", "admin", admin))

    try:
        yield wait_for_it
    finally:
        stop_child(process)


def _add_user(asked_by: TeamMlflow) -> TeamMlflow:
    added = TeamMlflow(asked_by.uri, asked_by.users, "ann", secrets.token_hex(16))
    known = base64.b64encode(f"{asked_by.user}:{asked_by.password}".encode()).decode()
    request = urllib.request.Request(
        f"{asked_by.uri}/api/2.0/mlflow/users/create",
        data=json.dumps({"username": added.user, "password": added.password}).encode(),
        headers={"Authorization": f"Basic {known}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30):
        return added
