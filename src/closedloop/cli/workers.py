"""Several processes that answer. One that crashes is replaced; a version that makes them crash does
not come back for a while."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable

from uvicorn import Config
from uvicorn.supervisors import Multiprocess

CRASHES, WITHIN_SECONDS, PAUSE_SECONDS = 3, 60.0, 5.0
# To say that it is alive, which a process cannot before its imports are done. On a busy machine
# they take more than uvicorn's 5 s, and none would ever start.
ALIVE_SECONDS = 20
# How code outside of Python ends a process. Whoever kills one sends other signals.
_CRASHING = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")


class Workers(Multiprocess):
    """Calls `leave_out` with a reason, and waits a little, at every third crash within a minute."""

    def __init__(
        self, config: Config, sockets: list[socket.socket], leave_out: Callable[[str], object]
    ) -> None:
        config.timeout_worker_healthcheck = ALIVE_SECONDS
        super().__init__(config, sockets)
        self._leave_out = leave_out
        self._crashes: list[float] = []

    def keep_subprocess_alive(self) -> None:
        """As uvicorn's: replace the processes that have ended."""
        names = [_signal_of(process.exitcode) for process in self.processes]
        crashed = [name for name in names if name in _CRASHING]
        now = time.monotonic()
        self._crashes = [moment for moment in self._crashes if now - moment < WITHIN_SECONDS]
        self._crashes += [now] * len(crashed)
        if len(self._crashes) >= CRASHES:
            self._leave_out(f"{len(self._crashes)} processes ended by {crashed[-1]} in a minute")
            self._crashes.clear()
            self.should_exit.wait(PAUSE_SECONDS)
        super().keep_subprocess_alive()


def _signal_of(exit_code: int | None) -> str:
    return signal.Signals(-exit_code).name if exit_code is not None and exit_code < 0 else ""
