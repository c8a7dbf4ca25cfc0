"""Where the time of a command went, by the kind of work; read by `closedloop demo --timings`.

`start-up` is importing libraries and starting and stopping MLflow, Prefect, Evidently and the API; `data` is making, reading and
checking windows; `scoring` is loading models, asking them and drawing how they did.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by name. Work measured inside other work counts once, for the inner name. Safe across threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._open = threading.local()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the duration of the block to `name`, less what was measured inside it."""
        outer: list[float] | None = getattr(self._open, "inner", None)
        mine: list[float] = [0.0]
        self._open.inner = mine
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            self._open.inner = outer
            if outer is not None:
                outer[0] += taken
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + taken - mine[0]

    @contextmanager
    def measure_ends(self, name: str, opened: AbstractContextManager[T]) -> Iterator[T]:
        """Add the time that opening and closing a context takes to `name`, and not what happens inside it."""
        with ExitStack() as stack:
            with self.measure(name):
                value = stack.enter_context(opened)
            yield value
            with self.measure(name):
                stack.close()


# One per process, because the work of one command crosses flows, tasks and threads that share nothing else.
STOPWATCH = Stopwatch()
