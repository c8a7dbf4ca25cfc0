"""The process that serves: its memory, its signals and its server."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from math import ceil
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from api.guard.connections import GuardedProtocol

_SWITCH_SECONDS = 0.0005


def tune_interpreter() -> None:
    """Collect garbage rarely, and let threads take turns often: for a process that only serves.

    A request creates thousands of values but no cycles. With Python's defaults, the search for
    cycles took a sixth of its time, and whoever was to be answered waited 5 ms each time that a
    thread with many rows or labels had Python's lock.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def configure(app: ASGIApp | Callable[[], ASGIApp], **options: Any) -> uvicorn.Config:
    """The server of an app of `create_app`: within its limits, and without WebSockets."""
    return uvicorn.Config(app, http=GuardedProtocol, ws="none", access_log=False, **options)


def run(app: ASGIApp, host: str, port: int, *, patience_seconds: float = 30.0) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish and record the open requests, and return.

    `patience_seconds` bounds that wait and should not be less than a request may take. Call it from
    the main thread.
    """
    tune_interpreter()
    server = uvicorn.Server(
        configure(app, host=host, port=port, timeout_graceful_shutdown=ceil(patience_seconds))
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again at its end, for the handler that was set before. The
        # default handler would then end the process as killed.
        signal.signal(number, server.handle_exit)
    server.run()
