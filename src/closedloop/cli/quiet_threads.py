"""Errors of background threads go to a log instead of the terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from closedloop.errors import UseCaseError


@contextmanager
def quiet_threads(find_log: Callable[[], Path]) -> Iterator[None]:
    """Write a line to the log for each thread that an error ends while the block runs."""
    before = threading.excepthook

    def note(ended: threading.ExceptHookArgs) -> None:
        name = ended.thread.name if ended.thread else "a thread"
        said = " ".join(f"{name} ended with {ended.exc_type.__name__}: {ended.exc_value}".split())
        # Without a place for the log the command goes on: nobody waits for such a thread.
        with suppress(OSError, UseCaseError):
            log = find_log()
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {said}\n")

    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before
