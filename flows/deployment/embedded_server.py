"""The Prefect server of one command: that of `closedloop up`, or one of its own.

Its own ends with the command, even a killed one; Prefect's temporary server would survive, and
start only with the first flow. Ours starts while the command loads what it needs, so Prefect is
imported late here, too.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closedloop.errors import ClosedLoopError
from closedloop.operations.access.ask import ask
from closedloop.operations.access.server import listen, make_login, start_server
from closedloop.operations.access.servers_file import find_running
from closedloop.operations.child_process import stop_child, tell_end
from flows.deployment.prefect_database import prepare_database
from flows.prefect_client.login import client_environment

START_SECONDS = 180.0
DELIVERY_SECONDS = 30.0
# Only what a single command needs: no UI, no scheduler, no event feed, no list of blocks. Task
# states are written in batches every five seconds and at the end: on SQLite concurrent writers make
# the server answer 503, and its client then waits two seconds.
_MINIMAL_SERVER = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "0",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1000",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "5",
}
# Clients of a server elsewhere know these; ours must not take them for its own.
_OF_OTHER_SERVERS = ("PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING")


class EmbeddedPrefect:
    """The server's process: the constructor returns at once, `wait` when the server answers."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._listening = listen("127.0.0.1", 0, then="stop what uses it")
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api"
        login = make_login()
        # What its clients need, processes that they start included.
        self.environment = client_environment(self.url, login, os.environ)
        log.parent.mkdir(parents=True, exist_ok=True)
        ours = {name: value for name, value in os.environ.items() if name not in _OF_OTHER_SERVERS}
        self._process = start_server(
            "flows.deployment.embedded_server:create_server",
            self._listening,
            login,
            hosts=["127.0.0.1"],
            environment={**ours, **_MINIMAL_SERVER},
            log=log,
        )

    def wait(self) -> str:
        """The server's address, once it answers.

        Raises ClosedLoopError when the process ended or did not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                ask(f"{self.url}/health", timeout=1)
                return self.url
            except OSError:
                # A starting server sends no event to wait for.
                time.sleep(0.1)
        ended = self._process.poll()
        got = (
            tell_end(ended, self._log)
            if ended is not None
            else f"no answer in {START_SECONDS:.0f} s"
        )
        raise ClosedLoopError(
            where="embedded Prefect",
            wanted="a server that answers",
            got=got,
            then=f"read {self._log}",
        )

    def stop(self) -> None:
        """End the process and wait until it is gone."""
        stop_child(self._process)
        self._listening.close()


@dataclass(frozen=True)
class RunningPrefect:
    """The server that `closedloop up` runs, on the database that one of our own would open, too."""

    url: str
    environment: dict[str, str]

    def wait(self) -> str:
        """The server's address: it answered when it was found."""
        return self.url

    def stop(self) -> None:
        """Leave it running."""


def find_prefect(home: Path) -> RunningPrefect | None:
    """The server that `closedloop up` runs in a home, if it answers."""
    found = find_running(home).get("Prefect")
    if found is None:
        return None
    url = f"{found.address}/api"
    try:
        ask(f"{url}/health", timeout=1)
    except OSError:  # it is starting, or ending
        return None
    return RunningPrefect(url, client_environment(url, found.login, os.environ))


def create_server() -> Any:
    """Prefect's server as the application that uvicorn runs."""
    # Imported objects live as long as the command: collecting them delays the start, and pauses a
    # request by 0.2 s.
    gc.set_threshold(50_000, 20, 100)
    prepare_database()
    from prefect.server.api.server import create_app

    application = create_app()
    gc.freeze()
    return application


@contextmanager
def embedded_prefect(home: Path) -> Iterator[EmbeddedPrefect | RunningPrefect | None]:
    """Start a server unless PREFECT_API_URL names one or one runs in `home`.

    Flows run on it inside `using`.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield None
        return
    before = dict(os.environ)
    server = find_prefect(home) or EmbeddedPrefect(home / "logs" / "prefect.log")
    try:
        yield server
    finally:
        server.stop()
        for name in server.environment:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def using(server: EmbeddedPrefect | RunningPrefect | None) -> Iterator[None]:
    """Wait for the server and run every flow of the block on it."""
    if server is None:
        yield
        return
    server.wait()
    os.environ.update(server.environment)
    _flush_events_and_logs()
    from prefect.client.orchestration import get_client
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
        PREFECT_CLIENT_CUSTOM_HEADERS,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )
    from prefect.utilities.asyncutils import run_coro_as_sync

    # Nobody reads heartbeats on a server that ends with the run, and joining their thread costs a
    # second per flow. The server issues no CSRF tokens.
    settings = {
        PREFECT_API_URL: server.url,
        PREFECT_API_AUTH_STRING: server.environment["PREFECT_API_AUTH_STRING"],
        PREFECT_CLIENT_CUSTOM_HEADERS: json.loads(
            server.environment["PREFECT_CLIENT_CUSTOM_HEADERS"]
        ),
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
    }
    with temporary_settings(updates=settings):
        # Both clients connect here, not in the first turn.
        run_coro_as_sync(_connect())
        with get_client(sync_client=True) as client:
            client.raise_for_api_version_mismatch_once()
        try:
            yield
        finally:
            _flush_events_and_logs()


def _flush_events_and_logs() -> None:
    """Send what Prefect's background threads hold, and end them while their server still runs.

    They keep the address of their first server and try each event for seven seconds. Otherwise the
    states of later flows would go to a server that is gone, and the process would end only after
    each of them had failed.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=DELIVERY_SECONDS, at_exit=False)


async def _connect() -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        await client.hello()
