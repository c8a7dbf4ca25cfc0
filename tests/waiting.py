"""Polling for what sends no event, and free ports."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 180.0


def until(holds: Callable[[], Any], what: str) -> Any:
    """Poll until `holds` is true; returns its value.

    Raises AssertionError, which names `what`, after PATIENCE_SECONDS.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.05)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
