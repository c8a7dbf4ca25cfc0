"""The process that serves: its memory, its signals and its server."""

from __future__ import annotations

import gc
import signal
from math import ceil

from starlette.types import ASGIApp


def tune_garbage_collection() -> None:
    """Collect garbage rarely, and never again in what exists now: for a process that only serves.

    A request creates thousands of values but no cycles. With Python's defaults, the search for
    cycles took a sixth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def run(app: ASGIApp, host: str, port: int, *, patience_seconds: float = 30.0) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish and record the open requests, and return.

    `patience_seconds` bounds that wait and should not be less than a request may take. Call it from
    the main thread.
    """
    import uvicorn

    tune_garbage_collection()
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
        # uvicorn raises the signal again at its end, for the handler that was set before. The
        # default handler would then end the process as killed.
        signal.signal(number, server.handle_exit)
    server.run()
