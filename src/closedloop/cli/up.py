"""`closedloop up`: MLflow UI, Prefect server, the scheduled deployments and the API, started
together and stopped together."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from closedloop.cli.serve import refuse_taken
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.operations.child_process import start_attached, stop_attached
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from closedloop.use_case.schedule import check_cron
from flows.prefect_client.names import MONITOR, TRAIN, name_deployment

START_SECONDS = 180.0


@dataclass(frozen=True, eq=False)
class Part:
    """One process of the stack: `probe` answers 200 when it is up (empty: nothing to ask), `pages`
    are where a person goes, by name.

    `variable` sets the `port` that it listens on, if it does. Servers have to be up before the rest
    is started.
    """

    name: str
    command: list[str]
    server: bool
    probe: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    port: int | None = None
    variable: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def parts_of(loop: Loop, cron: str) -> tuple[Part, ...]:
    """The processes of the embedded stack; MLflow and Prefect are left out when the environment
    names servers that run elsewhere."""
    settings, path = loop.settings, str(loop.use_case.path)
    mlflow, prefect, api = (
        f"http://{settings.host}:{port}"
        for port in (settings.mlflow_port, settings.prefect_port, settings.port)
    )
    elsewhere = os.environ.get("PREFECT_API_URL")
    # Runs are started in folders of Prefect's choice: what is relative to ours must not be.
    placed = {
        "CLOSEDLOOP_HOME": str(settings.home_folder),
        "CLOSEDLOOP_USE_CASE": path,
        **({"CLOSEDLOOP_DATA": str(settings.data.resolve())} if settings.data else {}),
    }
    parts = []
    if settings.mlflow_url is None:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            settings.tracking_uri,
            "--workers",
            "1",
            "--default-artifact-root",
            settings.artifacts_folder.as_uri(),
            "--host",
            settings.host,
            "--port",
            str(settings.mlflow_port),
        ]
        pages = {
            "MLflow": f"{mlflow}/#/experiments?workflowType=machine_learning",
            "its models": f"{mlflow}/#/models/{loop.use_case.name}",
        }
        parts.append(
            Part(
                "MLflow",
                command,
                True,
                f"{mlflow}/health",
                pages,
                settings.mlflow_port,
                "CLOSEDLOOP_MLFLOW_PORT",
                {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        )
    if not elsewhere:
        command = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            settings.host,
            "--port",
            str(settings.prefect_port),
        ]
        # Only its own pages may use it, by either name of this machine.
        allowed = ",".join(
            f"http://{name}:{settings.prefect_port}"
            for name in dict.fromkeys([settings.host, "localhost", "127.0.0.1"])
        )
        environment = {
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": allowed,
            "PREFECT_UI_API_URL": f"{prefect}/api",
            "PREFECT_API_URL": "",
            "PREFECT_LOGGING_LEVEL": "WARNING",
        }
        parts.append(
            Part(
                "Prefect",
                command,
                True,
                f"{prefect}/api/health",
                {"Prefect": f"{prefect}/deployments"},
                settings.prefect_port,
                "CLOSEDLOOP_PREFECT_PORT",
                environment,
            )
        )
    # Whoever presses "run" on Prefect's page sees it start soon, and sees its log there. A team's
    # server takes a run for dead whose heartbeats come at Prefect's own pace.
    shown = {
        "PREFECT_API_URL": elsewhere or f"{prefect}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "3",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_TO_API_ENABLED": "true",
    }
    probe = (
        ""
        if elsewhere
        else f"{prefect}/api/deployments/name/{name_deployment(TRAIN, loop.use_case.name)}"
    )
    parts.append(
        Part(
            "deployments",
            [sys.executable, "-m", "flows.deployment.serve", path, cron],
            False,
            probe,
            environment={**shown, **placed},
        )
    )
    serve = [
        sys.executable,
        "-m",
        "closedloop",
        "serve",
        "--use-case",
        path,
        "--host",
        settings.host,
        "--port",
        str(settings.port),
    ]
    parts.append(
        Part(
            "API",
            serve,
            False,
            f"{api}/health",
            {"API": f"{api}/docs"},
            settings.port,
            "CLOSEDLOOP_PORT",
        )
    )
    return tuple(parts)


def run_everything(
    console: Console, progress: Console, loop: Loop, cron: str | None = None
) -> None:
    """Start every part, say where they are, and wait for Ctrl-C or SIGTERM, or for one of them to
    end.

    `cron` takes the place of the one in loop.toml. Raises UseCaseError when it is none,
    ClosedLoopError when a port is taken, when the API would be open to others without a key, when a
    part does not start, or when one ends by itself.
    """
    from api.guard.keys import open_keys

    cron = loop.use_case.schedule.cron if cron is None else _checked(cron)
    parts, logs = parts_of(loop, cron), loop.settings.home_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if part.port is not None:
            refuse_taken(
                loop.settings.host,
                part.port,
                then=f"stop what uses it, or set {part.variable} to another port for {part.name}",
            )
    open_keys(
        loop.settings.keys_file, loop.settings.host, loop.settings.api_key
    )  # the API would end at once, after everything else has started
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with _alone(loop.settings.home_folder), _running(progress) as running:
        with progress.status("preparing the registry ..."):
            live = (
                loop.registry.production()
            )  # also makes the database, before two processes try to
        for servers in (True, False):
            group = [part for part in parts if part.server is servers]
            with progress.status(f"starting {' and '.join(part.name for part in group)} ..."):
                for part in group:
                    environment = {
                        name: value
                        for name, value in {**os.environ, **part.environment}.items()
                        if value
                    }
                    running[part] = start_attached(
                        part.command, environment=environment, log=_log_of(part, logs)
                    )
                for part in group:
                    _wait_for(part, running[part], logs, stopping)
        if not stopping.is_set():
            _show(console, parts, logs, loop.use_case, cron, live)
        while not stopping.wait(1.0):
            for part, process in running.items():
                if process.poll() is not None:
                    raise ClosedLoopError(
                        where="closedloop up",
                        wanted=f"{part.name} to keep running",
                        got=f"an end with code {process.returncode}",
                        then=f"read {_log_of(part, logs)}",
                    )


def _checked(cron: str) -> str:
    try:
        check_cron(cron)
    except ValueError as error:
        raise UseCaseError(
            where="--cron",
            wanted=str(error).rpartition(", got ")[0],
            got=repr(cron),
            then="mend it",
        ) from None
    return cron


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two stacks on one home would share one Prefect database and overwrite each other's logs: the
    second is refused."""
    with open(home / "up.lock", "w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClosedLoopError(
                where=str(home),
                wanted="one closedloop up for one CLOSEDLOOP_HOME",
                got="another one that runs",
                then="stop that one first, or set CLOSEDLOOP_HOME to another folder",
            ) from None
        yield


@contextmanager
def _running(progress: Console) -> Iterator[dict[Part, subprocess.Popen[bytes]]]:
    """The processes that the block starts; at its end all are stopped, servers after those that
    need them."""
    running: dict[Part, subprocess.Popen[bytes]] = {}
    try:
        yield running
    finally:
        with progress.status("stopping ..."), ThreadPoolExecutor() as side_by_side:
            for servers in (False, True):
                list(
                    side_by_side.map(
                        stop_attached,
                        [process for part, process in running.items() if part.server is servers],
                    )
                )


def _log_of(part: Part, logs: Path) -> Path:
    return logs / f"{part.name.lower()}.log"


def _wait_for(
    part: Part, process: subprocess.Popen[bytes], logs: Path, stopping: threading.Event
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while part.probe and not stopping.wait(0.2):
        try:
            with urllib.request.urlopen(part.probe, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            got = (
                f"exit code {ended}" if ended is not None else f"no answer in {START_SECONDS:.0f} s"
            )
            raise ClosedLoopError(
                where="closedloop up",
                wanted=f"{part.name} to start",
                got=got,
                then=f"read {_log_of(part, logs)}",
            )


def _show(
    console: Console,
    parts: tuple[Part, ...],
    logs: Path,
    use_case: UseCase,
    cron: str,
    live: int | None,
) -> None:
    monitor, train = (name_deployment(flow, use_case.name) for flow in (MONITOR, TRAIN))
    # One line each and unbroken: addresses are clicked.
    for name, page in [page for part in parts for page in part.pages.items()]:
        console.print(f"{name:14}{page}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"{'deployments':14}{monitor} ({cron}, {use_case.schedule.timezone}), {train}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"{'logs':14}{logs}", soft_wrap=True, highlight=False)
    if live is None:
        console.print(
            f"no model yet, so the API answers 503: closedloop monitor, or run {monitor} in Prefect",
            highlight=False,
        )
    console.print("Ctrl-C stops everything", highlight=False)
