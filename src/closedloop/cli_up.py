"""`closedloop up`: MLflow UI, Prefect server, the scheduled deployments and the API, started together and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from closedloop.attached import start_attached, stop_attached
from closedloop.errors import ClosedLoopError
from closedloop.loop import Loop

START_SECONDS = 180.0


@dataclass(frozen=True)
class Part:
    """One process of the stack: `probe` answers 200 when it is up (empty: nothing to ask), `page` is where a person goes."""

    name: str
    command: list[str]
    page: str = ""
    probe: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def parts_of(loop: Loop, cron: str) -> tuple[Part, ...]:
    """The processes of the embedded stack; MLflow and Prefect are left out when the environment names servers that run elsewhere."""
    settings, path = loop.settings, str(loop.use_case.path)
    mlflow, prefect, api = (f"http://{settings.host}:{port}" for port in (settings.mlflow_port, settings.prefect_port, settings.port))
    prefect_url = os.environ.get("PREFECT_API_URL") or f"{prefect}/api"
    shown = {"PREFECT_API_URL": prefect_url, "PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_TO_API_ENABLED": "true"}
    parts = []
    if settings.mlflow_url is None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", settings.tracking_uri, "--workers", "1",
                   "--default-artifact-root", settings.artifacts_folder.as_uri(), "--host", settings.host, "--port", str(settings.mlflow_port)]  # fmt: skip
        parts.append(Part("MLflow", command, mlflow, f"{mlflow}/health", {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}))
    if not os.environ.get("PREFECT_API_URL"):
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", settings.host, "--port", str(settings.prefect_port)]
        allowed = {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": prefect, "PREFECT_UI_API_URL": f"{prefect}/api", "PREFECT_API_URL": ""}
        parts.append(Part("Prefect", command, prefect, f"{prefect}/api/health", allowed))
    parts.append(Part("deployments", [sys.executable, "-m", "flows.deployments", path, cron], environment=shown))
    serve = [sys.executable, "-m", "closedloop", "serve", "--use-case", path, "--host", settings.host, "--port", str(settings.port)]
    parts.append(Part("API", serve, f"{api}/docs", f"{api}/health"))
    return tuple(parts)


def run_everything(console: Console, loop: Loop, cron: str) -> None:
    """Start every part, say where they are, and wait for Ctrl-C or SIGTERM, or for one of them to end.

    Raises ClosedLoopError when a port is taken, when a part does not start, or when one ends by itself.
    """
    parts, logs = parts_of(loop, cron), loop.settings.home_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    _refuse_taken_ports(parts)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    running: list[tuple[Part, subprocess.Popen[bytes]]] = []
    try:
        loop.registry.ping()  # makes the database before two processes try to
        for part in parts:
            with console.status(f"starting {part.name} ..."):
                environment = {name: value for name, value in {**os.environ, **part.environment}.items() if value}
                running.append((part, start_attached(part.command, environment=environment, log=logs / f"{part.name.lower()}.log")))
                _wait_for(part, running[-1][1], logs, stopping)
            if stopping.is_set():
                return
        _show(console, parts, logs, cron)
        while not stopping.wait(1.0):
            for part, process in running:
                if process.poll() is not None:
                    raise ClosedLoopError(where="closedloop up", wanted=f"{part.name} to keep running", got=f"it ended with code {process.returncode}",
                                          then=f"read {logs / (part.name.lower() + '.log')}")  # fmt: skip
    finally:
        with console.status("stopping ..."):
            for _, process in reversed(running):
                stop_attached(process)


def _refuse_taken_ports(parts: tuple[Part, ...]) -> None:
    for part in parts:
        if part.probe:
            host, port = part.probe.split("/")[2].rsplit(":", 1)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, int(port)))
                except OSError as error:
                    raise ClosedLoopError(where=f"port {port} for {part.name}", wanted="a free port", got=str(error),
                                          then="stop what uses it, or set CLOSEDLOOP_PORT, CLOSEDLOOP_MLFLOW_PORT or CLOSEDLOOP_PREFECT_PORT") from None  # fmt: skip


def _wait_for(part: Part, process: subprocess.Popen[bytes], logs: Path, stopping: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    while part.probe and not stopping.wait(0.2):
        try:
            with urllib.request.urlopen(part.probe, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            got = f"exit code {ended}" if ended is not None else f"no answer in {START_SECONDS:.0f} s"
            raise ClosedLoopError(
                where="closedloop up", wanted=f"{part.name} to start", got=got, then=f"read {logs / (part.name.lower() + '.log')}"
            )


def _show(console: Console, parts: tuple[Part, ...], logs: Path, cron: str) -> None:
    table = Table("part", "where", box=None)
    for part in parts:
        table.add_row(part.name, part.page or f"monitor/scheduled ({cron}), train-and-compare/on-demand")
    console.print(table)
    console.print(f"logs: {logs}; Ctrl-C stops everything", highlight=False, soft_wrap=True)
