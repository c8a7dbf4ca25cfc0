"""`closedloop serve`: the API with its real parts."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from closedloop.actions import note_serving
from closedloop.errors import ClosedLoopError
from closedloop.loop import Loop

if TYPE_CHECKING:
    from fastapi import FastAPI

START_SECONDS = 60.0


def build_service(loop: Loop, where: str) -> FastAPI:
    """The app on this use case's registry, records and journal; `where` is how the journal names this service."""
    from api.app import create_app
    from api.model import Follower, Production

    started = datetime.now(UTC).isoformat(timespec="seconds")

    def announce(version: int) -> None:
        note_serving(loop, version, where=where, started=started)

    follower = Follower(Production(), loop.registry.production, loop.registry.load, announce, follow_seconds=loop.settings.follow_seconds)
    return create_app(follower, loop.records, title=f"closedloop: {loop.use_case.name}")


def serve_forever(loop: Loop, host: str, port: int) -> None:
    """Answer until the process is told to stop; raises ClosedLoopError when the port is taken."""
    from api.app import run

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ClosedLoopError(where=f"{host}:{port}", wanted="a free address", got=str(error), then="choose another --port") from None
    run(build_service(loop, f"{host}:{port}/{os.getpid()}"), host, port)


@contextmanager
def serving(loop: Loop, host: str, port: int) -> Iterator[str]:
    """Serve from a thread of this process for the duration of the block; yields the address once a model is ready.

    Port 0 takes a free one. Raises ClosedLoopError when no model is ready in time.
    """
    import uvicorn

    app = build_service(loop, "demo")
    listening = socket.create_server((host, port))
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://{host}:{listening.getsockname()[1]}"
    try:
        _wait_until_ready(address)
        yield address
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _wait_until_ready(address: str) -> None:
    import urllib.error
    import urllib.request

    deadline, got = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/ready", timeout=5):
                return
        except urllib.error.HTTPError as error:
            got = error.read().decode()[:300]
        except (urllib.error.URLError, OSError) as error:
            got = str(error)
        time.sleep(0.05)
    raise ClosedLoopError(where=f"API at {address}", wanted="a model that is ready", got=got, then="run: closedloop doctor")
