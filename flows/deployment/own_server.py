"""A Prefect server of our own for the length of one command: it ends with that command, however it
ends.

Prefect's own temporary server is left running when its parent is killed; it also starts only when
the first flow asks for it, which is too late to read data in the meantime.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from closedloop.errors import ClosedLoopError
from closedloop.operations.child_process import start_attached, stop_attached

START_SECONDS = 180.0
DELIVERY_SECONDS = 30.0
# As few parts of the server as a single command needs: no page, no schedules, no cleaning up after
# others, no feed of events. The states of tasks are written together every five seconds and at the
# end, not each by itself: on SQLite two writers at once make the server answer 503, and its client
# waits two seconds before it asks again.
_QUIET = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1000",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "5",
}


class EmbeddedPrefect:
    """The server's process; starting it returns at once, `wait` returns its address when it
    answers."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"
        }
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "flows.deployment.own_server:create_server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            "--log-level",
            "error",
            "--lifespan",
            "on",
        ]
        self._process = start_attached(command, environment={**environment, **_QUIET}, log=log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    def wait(self) -> str:
        """The server's address, once it answers; raises ClosedLoopError when it ended or took too
        long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self.url
            except (urllib.error.URLError, OSError):
                # A server that starts has no event to wait for: its port answers or it does not.
                time.sleep(0.1)
        ended = self._process.poll()
        got = f"exit code {ended}" if ended is not None else f"no answer in {START_SECONDS:.0f} s"
        raise ClosedLoopError(
            where="embedded Prefect",
            wanted="a server that answers",
            got=got,
            then=f"read {self._log}",
        )

    def stop(self) -> None:
        """End it and wait until it is gone."""
        stop_attached(self._process)


def create_server() -> Any:
    """Prefect's server as an application, in the process that uvicorn runs."""
    from prefect.server.api.server import create_app

    served = create_app()
    # What was imported stays for as long as the command lasts: each walk through all of it is a
    # pause of 0.2 s in some request.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return served


@contextmanager
def embedded_prefect(log: Path) -> Iterator[EmbeddedPrefect | None]:
    """Start a server unless PREFECT_API_URL names one; inside the block flows find it once `use`
    was called on it."""
    if os.environ.get("PREFECT_API_URL"):
        yield None
        return
    server = EmbeddedPrefect(log)
    try:
        yield server
    finally:
        server.stop()
        os.environ.pop("PREFECT_API_URL", None)


@contextmanager
def using(server: EmbeddedPrefect | None) -> Iterator[None]:
    """Wait for the server and let every flow of the block run on it."""
    if server is None:
        yield
        return
    os.environ["PREFECT_API_URL"] = server.wait()
    _send_what_waits()
    from prefect.client.orchestration import get_client
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )
    from prefect.utilities.asyncutils import run_coro_as_sync

    # Nobody reads the heartbeats of a run whose server ends with it, and joining their thread costs
    # a second a flow; the server hands out no tokens against forged requests, so no client need ask
    # for one.
    settings = {
        PREFECT_API_URL: server.url,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
    }
    with temporary_settings(updates=settings):
        # Both clients connect now and not in the first turn.
        run_coro_as_sync(_connect())
        with get_client(sync_client=True) as client:
            client.raise_for_api_version_mismatch_once()
        try:
            yield
        finally:
            _send_what_waits()


def _send_what_waits() -> None:
    """Let Prefect's background threads deliver what they hold, and end them, while there is still
    the server that they serve.

    They keep the address of the server that they first met and try each event for seven seconds:
    left alone, the states of later flows would go to a server that is gone, and the process could
    not end before every one of them had failed.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=DELIVERY_SECONDS, at_exit=False)


async def _connect() -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        await client.hello()
