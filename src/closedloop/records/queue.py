"""Many requests, one transaction: those that arrive while one commit runs share the next one.

A writer thread owns the commits that may have to wait, so that a request costs a place in a queue
and not a write to disk; what the store can commit without waiting is committed at once. Whoever
waits is told only when the transaction that holds its request is committed; nothing is delayed on
purpose.
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
from closedloop.records.request import AnsweredRequest

_LOG = logging.getLogger("closedloop.service")
MOST_WAITING = 50_000
MOST_AT_ONCE = 4_000
PROBE_SECONDS = 1.0


class RecorderBusy(StoreError):
    """More rows wait to be recorded than the queue holds, or the recorder is closed: nothing was
    accepted."""


class Store(Protocol):
    """What a recorder needs of `closedloop.records.store.Records`."""

    def append(self, requests: Sequence[AnsweredRequest]) -> None: ...

    def append_now(
        self, requests: Sequence[AnsweredRequest]
    ) -> bool: ...  # never waits; False when it would have to

    def probe(self) -> None: ...

    def close(self) -> None: ...


Waiter = Future[None] | asyncio.Future[None]


@dataclass(frozen=True)
class _Entry:
    request: AnsweredRequest
    waiter: Waiter


class Recorder:
    """Records requests in `store`: at once where it can, else from one thread, which starts with
    the first of those and ends with `close`.

    At most `most_waiting` rows wait (one request may be larger when nothing else waits), and a
    transaction takes about `most_at_once`. After a fault the store is tried again with each request
    and, without any, every `probe_seconds`.
    """

    def __init__(
        self,
        store: Store,
        *,
        most_waiting: int = MOST_WAITING,
        most_at_once: int = MOST_AT_ONCE,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._store, self._most_waiting, self._most_at_once, self._probe_seconds = (
            store,
            most_waiting,
            most_at_once,
            probe_seconds,
        )
        self._entries: deque[_Entry] = deque()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Entry]] = {}
        self._rows = 0
        self._changed = Condition()
        self._closing = self._try_soon = False
        self._thread: Thread | None = None
        self.fault: str | None = None

    @property
    def waiting(self) -> int:
        """Rows that are accepted and not committed yet."""
        return self._rows

    def start(self) -> None:
        """Start the thread before the first request: a store that is away is then known at once."""
        with self._changed:
            if self._thread is None and not self._closing:
                self._try_soon = True
                self._start_thread()

    def append(self, request: AnsweredRequest) -> Future[None]:
        """Done when all of its rows are committed, failed with StoreError when none is. Raises
        RecorderBusy when the queue is full."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # what is accepted is recorded, whoever still waits for it
        for _, busy in self._accept([_Entry(request, done)]):
            raise busy
        return done

    async def record(self, request: AnsweredRequest) -> None:
        """The same for a coroutine: returns when it is committed. Raises StoreError when none
        is."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        gathered = self._gathered.setdefault(loop, [])
        gathered.append(_Entry(request, done))
        if len(gathered) == 1:
            # What comes in during the same turn of the event loop is handed over together: waking a
            # thread costs more than a row.
            loop.call_soon(self._hand_over, loop)
        await done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        entries = self._gathered.pop(loop)
        # Only while nobody waits for the thread: nothing is overtaken, and a store with a fault is
        # the thread's to try.
        if not (self._rows or self._closing or self.fault) and self._append_now(
            [one.request for one in entries]
        ):
            _tell_all([one.waiter for one in entries], None)
            return
        for entry, busy in self._accept(entries):
            _tell_all([entry.waiter], busy)

    def _append_now(self, requests: Sequence[AnsweredRequest]) -> bool:
        try:
            return self._store.append_now(requests)
        except Exception:  # somebody waits: the thread tries again, and tells them what is wrong
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

    def _accept(self, entries: Sequence[_Entry]) -> list[tuple[_Entry, RecorderBusy]]:
        """Put them into the queue; those that find no place come back with the reason."""
        refused = []
        with self._changed:
            for entry in entries:
                if busy := self._refuse(entry.request.rows):
                    refused.append((entry, busy))
                else:
                    self._entries.append(entry)
                    self._rows += entry.request.rows
            if self._entries:
                self._start_thread()
                self._changed.notify()
        return refused

    def _refuse(self, rows: int) -> RecorderBusy | None:
        if not self._closing and (not self._rows or self._rows + rows <= self._most_waiting):
            return None
        got = "a service that stops" if self._closing else f"{self._rows} of them and {rows} more"
        return RecorderBusy(
            where="records",
            wanted=f"at most {self._most_waiting} rows that wait to be recorded",
            got=got,
            then="ask again in a moment",
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
            _settle([entry.waiter for entry in batch], error)

    def _next_batch(self) -> list[_Entry] | None:
        """What waits, as soon as something does; nothing when it is time to probe; None at the
        end."""
        with self._changed:
            while not self._entries and not self._closing:
                if self._try_soon or not self._changed.wait(
                    None if self.fault is None else self._probe_seconds
                ):
                    self._try_soon = False
                    return []
            if not self._entries:
                return None
            batch, rows = [self._entries.popleft()], 0
            while self._entries and (rows := rows + batch[-1].request.rows) < self._most_at_once:
                batch.append(self._entries.popleft())
            return batch

    def _try_store(self, requests: Sequence[AnsweredRequest]) -> Exception | None:
        """Record, or only probe when there is nothing to record; what went wrong is returned and
        kept as `fault`."""
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


def _settle(waiters: Sequence[Waiter], error: Exception | None) -> None:
    """Tell all of them; each event loop is woken once, however many of its coroutines wait."""
    of_loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if isinstance(waiter, asyncio.Future):
            of_loops.setdefault(waiter.get_loop(), []).append(waiter)
        else:
            _tell(waiter, error)
    for loop, futures in of_loops.items():
        try:
            loop.call_soon_threadsafe(_tell_all, futures, error)
        except RuntimeError:  # the loop is closed, so nobody waits there any more
            continue


def _tell_all(futures: Sequence[Waiter], error: Exception | None) -> None:
    for future in futures:
        if not future.done():  # a client that left has cancelled its own
            _tell(future, error)


def _tell(waiter: Waiter, error: Exception | None) -> None:
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
