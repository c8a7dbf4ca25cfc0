"""The process that serves: its memory, its signals, its server."""

from __future__ import annotations

import gc
import signal
from math import ceil

from starlette.types import ASGIApp


def tend_memory() -> None:
    """For a process that does nothing but serve: look for garbage seldom, and never again among
    what it was started with.

    A request makes no cycles, but thousands of values; with Python's own settings a sixth of its
    time went into looking for them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def run(app: ASGIApp, host: str, port: int, *, patience_seconds: float = 30.0) -> None:
    """Serve until SIGTERM or Ctrl-C, and then return: nothing new is taken, what is under way is
    answered and recorded first.

    `patience_seconds` bounds that wait; it should not be less than a request may take. Call it from
    the main thread.
    """
    import uvicorn

    tend_memory()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,
            timeout_graceful_shutdown=ceil(patience_seconds),
        )
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # When it is done, the server raises the signal again for whoever had asked before: the
        # default would end the process as killed.
        signal.signal(number, server.handle_exit)
    server.run()
