"""`closedloop serve`: the API with its real parts."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from closedloop.actions import note_serving
from closedloop.errors import ClosedLoopError
from closedloop.loop import Loop

if TYPE_CHECKING:
    from fastapi import FastAPI

    from api.keys import Keys
    from api.scorer import Scorer

START_SECONDS = 60.0


def build_service(loop: Loop, where: str, keys: Keys | None = None) -> FastAPI:
    """The app on this use case's registry, records and journal; `where` is how the journal names this service.

    Without `keys` nobody needs one.
    """
    from api.app import create_app
    from api.limits import Limits
    from api.model import Follower, Production
    from closedloop.bundle import read_proof
    from closedloop.packaging import read_packed
    from closedloop.served import load_served

    started = datetime.now(UTC).isoformat(timespec="seconds")

    def announce(version: int) -> None:
        note_serving(loop, version, where=where, started=started)

    def load(version: int) -> Scorer:
        folder = loop.registry.fetch(version)
        return load_served(folder) if read_proof(folder).served_by == "onnx" else read_packed(folder)

    follower = Follower(Production(), loop.registry.production, load, announce, follow_seconds=loop.settings.follow_seconds)
    settings = loop.settings
    limits = Limits(settings.max_body_bytes, settings.max_waiting_requests, settings.request_seconds)
    return create_app(follower, loop.records, title=f"closedloop: {loop.use_case.name}", max_rows=settings.max_rows, limits=limits,
                      keys=keys, answer_without_records=settings.answer_without_records)  # fmt: skip


def prepare_service(loop: Loop, host: str, port: int) -> Callable[[], None]:
    """All that can go wrong before answering; what is returned answers until the process is told to stop.

    Raises ClosedLoopError when the address cannot be listened on, or could be reached by others and there is no API key.
    """
    from api.app import run
    from api.keys import open_keys

    refuse_taken(host, port, then="choose another --port, or stop what uses it")
    app = build_service(loop, f"{host}:{port}/{os.getpid()}", open_keys(loop.settings.keys_file, host))
    # A little more than a request may take, so that each has its own answer.
    return lambda: run(app, host, port, patience_seconds=loop.settings.request_seconds + 1)


def refuse_taken(host: str, port: int, *, then: str) -> None:
    """Raise ClosedLoopError unless this process could listen there; `then` says what to do about a port that is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ClosedLoopError(where=f"port {port} on {host}", wanted="a free port", got="one that is in use", then=then) from None
            raise ClosedLoopError(where=f"{host}:{port}", wanted="an address of this machine and a port that may be opened",
                                  got=error.strerror or str(error), then="choose another --host or --port") from None  # fmt: skip


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
