"""Waits for a service that was just started."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

from closedloop.errors import ClosedLoopError

START_SECONDS = 60.0


def wait_until_ready(address: str) -> None:
    """Return once a model answers there; raises ClosedLoopError when none does in time."""
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
    raise ClosedLoopError(
        where=f"API at {address}",
        wanted="a model that is ready",
        got=got,
        then="run: closedloop doctor",
    )
