"""Many requests, one transaction: those that arrive during a commit share the next one.

Requests that the store can commit without waiting are committed at once. A thread owns all other
commits, so that a request costs a place in a queue instead of a write to disk. A request is done
when the transaction that holds it is committed; nothing is delayed on purpose.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Protocol

from closedloop.errors import StoreError
from closedloop.records.labels import Label
from closedloop.records.request import AnsweredRequest

_LOG = logging.getLogger("closedloop.service")
MAX_WAITING_ROWS = 50_000
MAX_COMMIT_ROWS = 4_000
PROBE_SECONDS = 1.0


class QueueFull(StoreError):
    """Too many rows wait to be recorded, or the queue is closed: nothing was accepted."""


class Store(Protocol):
    """What the service needs of `closedloop.records.store.Records`."""

    def append(self, requests: Sequence[AnsweredRequest]) -> None: ...

    def append_now(self, requests: Sequence[AnsweredRequest]) -> bool: ...

    def probe(self) -> None: ...

    def label_many(
        self, labels: Sequence[Label], use_case: str, *, by: str | None = None
    ) -> int: ...

    def close(self) -> None: ...


Waiter = Future[None] | asyncio.Future[None]


@dataclass(frozen=True)
class _Entry:
    request: AnsweredRequest
    waiter: Waiter


class RecordQueue:
    """Records requests in `store`: at once where it can, otherwise from one thread.

    The thread starts with the first request that needs it and ends with `close`. At most
    `max_waiting_rows` wait (a single request may be larger), and a transaction takes about
    `max_commit_rows`. After a failure, the store is tried again with each request, and every
    `probe_seconds` without one.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        max_commit_rows: int = MAX_COMMIT_ROWS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._store, self._probe_seconds = store, probe_seconds
        self._max_waiting_rows, self._max_commit_rows = max_waiting_rows, max_commit_rows
        self._entries: deque[_Entry] = deque()
        self._collected: dict[asyncio.AbstractEventLoop, list[_Entry]] = {}
        self._rows = 0
        self._changed = Condition()
        self._closing = self._probe_soon = False
        self._thread: Thread | None = None
        self.fault: str | None = None

    @property
    def waiting(self) -> int:
        """Rows that are accepted but not committed yet."""
        return self._rows

    def start(self) -> None:
        """Start the thread before the first request, to learn at once whether the store is away."""
        with self._changed:
            if self._thread is None and not self._closing:
                self._probe_soon = True
                self._start_thread()

    def append(self, request: AnsweredRequest) -> Future[None]:
        """A future that is done when all rows are committed, or fails with StoreError.

        Raises QueueFull when the queue is full.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # an accepted request cannot be cancelled
        for _, refused in self._accept([_Entry(request, done)]):
            raise refused
        return done

    async def record(self, request: AnsweredRequest) -> None:
        """Return when all rows are committed; raises StoreError when none is."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        collected = self._collected.setdefault(loop, [])
        collected.append(_Entry(request, done))
        if len(collected) == 1:
            # Requests of the same turn of the event loop are handed over together: waking a thread
            # costs more than a row.
            loop.call_soon(self._hand_over, loop)
        await done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        entries = self._collected.pop(loop)
        # Only while no row waits for the thread, so that nothing is overtaken; and only the thread
        # tries a store that has failed.
        is_free = not (self._rows or self._closing or self.fault)
        if is_free and self._append_now([entry.request for entry in entries]):
            _finish_all([entry.waiter for entry in entries], None)
            return
        for entry, refused in self._accept(entries):
            _finish_all([entry.waiter], refused)

    def _append_now(self, requests: Sequence[AnsweredRequest]) -> bool:
        try:
            return self._store.append_now(requests)
        except Exception:  # the thread tries again, and reports its error to whoever waits
            _LOG.exception("answers could not be recorded at once")
            return False

    def close(self, timeout_seconds: float | None = None) -> None:
        """Accept nothing more, commit what was accepted, and close the store."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        if self._thread is None or not self._thread.is_alive():
            self._store.close()

    def _accept(self, entries: Sequence[_Entry]) -> list[tuple[_Entry, QueueFull]]:
        """Put entries into the queue; returns those that were refused, with the reason."""
        refused = []
        with self._changed:
            for entry in entries:
                if error := self._check_space(entry.request.rows):
                    refused.append((entry, error))
                else:
                    self._entries.append(entry)
                    self._rows += entry.request.rows
            if self._entries:
                self._start_thread()
                self._changed.notify()
        return refused

    def _check_space(self, rows: int) -> QueueFull | None:
        if not self._closing and (not self._rows or self._rows + rows <= self._max_waiting_rows):
            return None
        got = "a service that is stopping" if self._closing else f"{self._rows} and {rows} more"
        return QueueFull(
            where="records",
            wanted=f"at most {self._max_waiting_rows} rows waiting to be recorded",
            got=got,
            then="try again in a moment",
        )

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._write, name="record-predictions", daemon=True)
            self._thread.start()

    def _write(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            error = self._try_store([entry.request for entry in batch])
            with self._changed:
                self._rows -= sum(entry.request.rows for entry in batch)
            _notify([entry.waiter for entry in batch], error)

    def _next_batch(self) -> list[_Entry] | None:
        """Wait for entries; an empty batch when it is time to probe, None when the queue closed."""
        with self._changed:
            while not self._entries and not self._closing:
                if self._probe_soon or not self._changed.wait(
                    None if self.fault is None else self._probe_seconds
                ):
                    self._probe_soon = False
                    return []
            if not self._entries:
                return None
            batch, rows = [self._entries.popleft()], 0
            while self._entries and (rows := rows + batch[-1].request.rows) < self._max_commit_rows:
                batch.append(self._entries.popleft())
            return batch

    def _try_store(self, requests: Sequence[AnsweredRequest]) -> Exception | None:
        """Record, or probe when there is nothing to record; an error also becomes `fault`."""
        try:
            self._store.append(requests) if requests else self._store.probe()
        except Exception as error:
            if self.fault is None:
                _LOG.error("answers cannot be recorded: %s", error)
            self.fault = " ".join(str(error).split())[:500] or type(error).__name__
            return error
        if self.fault is not None:
            _LOG.warning("answers are recorded again")
        self.fault = None
        return None


def _notify(waiters: Sequence[Waiter], error: Exception | None) -> None:
    """Finish all waiters; each event loop is woken once, however many of its coroutines wait."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if isinstance(waiter, asyncio.Future):
            by_loop.setdefault(waiter.get_loop(), []).append(waiter)
        else:
            _finish(waiter, error)
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(_finish_all, futures, error)
        except RuntimeError:  # the loop is closed: nobody waits there any more
            continue


def _finish_all(waiters: Sequence[Waiter], error: Exception | None) -> None:
    for waiter in waiters:
        if not waiter.done():  # a client that has left cancelled its own
            _finish(waiter, error)


def _finish(waiter: Waiter, error: Exception | None) -> None:
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
