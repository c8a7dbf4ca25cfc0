"""Clients that ask all the time, and remember what they were told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.stack.running_stack import Stack


@dataclass
class Told:
    """What clients heard while a load ran: the time and the status of each answer, and the ids of
    all predictions that they were given."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def statuses(self, since: float = 0.0, until: float = float("inf")) -> Counter[int]:
        """How often each status was heard between two moments of time.monotonic()."""
        return Counter(status for at, status in list(self.answers) if since <= at < until)

    def wait_for(self, status: int, since: float, seconds: float) -> None:
        """Return when somebody has heard this status after a moment."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.statuses(since)[status]:
                return
            time.sleep(0.05)
        raise AssertionError(
            f"wanted an answer {status} within {seconds:.0f} s, got {dict(self.statuses(since))}"
        )


@contextmanager
def asking(stack: Stack, row: dict[str, Any], clients: int = 4) -> Iterator[Told]:
    """Clients that ask about one row, one request after the other, for the duration of the
    block."""
    told, stopping = Told(), threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            answer = stack.ask("/predict", row, timeout=20.0)
            told.answers.append((time.monotonic(), answer.status))
            if answer.status == 200:
                told.ids += [prediction["id"] for prediction in answer.json()["predictions"]]
            else:
                stopping.wait(0.05)  # a client that is refused does not hammer

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stopping.set()
        for thread in threads:
            thread.join(30)
