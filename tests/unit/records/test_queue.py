"""The queue: requests share commits, none is done before its commit, and a store may come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from closedloop.errors import StoreError
from closedloop.records.queue import QueueFull, RecordQueue
from closedloop.records.request import AnsweredRequest
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401

LOST = StoreError(where="records", wanted="a database", got="none", then="wait")


def answered(request: str, rows: int = 1) -> AnsweredRequest:
    return describe_answers(
        "shop",
        3,
        {"spend": [1.5] * rows},
        {"False": [0.2] * rows, "True": [0.8] * rows},
        request=request,
    )


@dataclass
class Store:
    """A store that holds commits back until `open` is set, and fails while it has a `fault`."""

    transactions: list[list[str]] = field(default_factory=list)
    open: Event = field(default_factory=Event)
    began: Event = field(default_factory=Event)
    probed: Event = field(default_factory=Event)
    fault: Exception | None = None
    quick: bool = False
    closed: bool = False

    def append_now(self, requests: Sequence[AnsweredRequest]) -> bool:
        if self.quick:
            self.transactions.append([request.request for request in requests])
        return self.quick

    def append(self, requests: Sequence[AnsweredRequest]) -> None:
        self.began.set()
        assert self.open.wait(30)
        if self.fault:
            raise self.fault
        self.transactions.append([request.request for request in requests])

    def close(self) -> None:
        self.closed = True

    def probe(self) -> None:
        if self.fault:
            raise self.fault
        self.probed.set()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def queue(store: Store) -> Iterator[RecordQueue]:
    made = RecordQueue(store, max_waiting_rows=10, probe_seconds=0.01)
    yield made
    store.open.set()
    made.close(30)


def hold_first_commit(store: Store, queue: RecordQueue) -> None:
    queue.append(answered("first"))
    assert store.began.wait(30)


def test_what_arrives_during_a_commit_shares_the_next_one(store: Store, queue: RecordQueue) -> None:
    """Eight requests that arrive during a commit are a single transaction, in order, and none is
    done before it."""
    hold_first_commit(store, queue)
    waiting = [queue.append(answered(f"p{number}")) for number in range(8)]
    assert not any(future.done() for future in waiting)
    store.open.set()
    assert [future.result(30) for future in waiting] == [None] * 8
    assert store.transactions == [["first"], [f"p{number}" for number in range(8)]]


def test_coroutines_wait_without_a_thread_each(store: Store, queue: RecordQueue) -> None:
    """Coroutines wait for the same commit, and the event loop keeps running."""

    async def ask() -> list[bool]:
        recording = [
            asyncio.create_task(queue.record(answered(f"p{number}"))) for number in range(5)
        ]
        await asyncio.to_thread(store.began.wait, 30)
        before = [task.done() for task in recording]
        store.open.set()
        await asyncio.gather(*recording)
        return before

    assert asyncio.run(ask()) == [False] * 5
    assert sum(len(requests) for requests in store.transactions) == 5


def test_a_coroutine_that_gave_up_does_not_stop_the_others(
    store: Store, queue: RecordQueue
) -> None:
    """The request of a client that left is recorded all the same, and the others are finished."""

    async def ask() -> None:
        hold_first_commit(store, queue)
        left, stayed = (
            asyncio.create_task(queue.record(answered(id))) for id in ("left", "stayed")
        )
        await asyncio.sleep(0)
        left.cancel()
        store.open.set()
        await stayed

    asyncio.run(ask())
    assert store.transactions[1:] == [["left", "stayed"]]


def test_a_failing_commit_fails_all_that_wait_for_it_and_the_next_one_tries_again(
    store: Store, queue: RecordQueue
) -> None:
    """All requests of the transaction fail with the reason; the fault lasts until something is
    recorded, without a restart."""
    hold_first_commit(store, queue)
    failing = [queue.append(answered(id)) for id in ("a", "b")]
    store.fault = LOST
    store.open.set()
    for future in failing:
        with pytest.raises(StoreError, match="wanted a database, got none"):
            future.result(30)
    assert queue.fault is not None
    assert "got none" in queue.fault
    store.fault = None
    queue.append(answered("c")).result(30)
    assert queue.fault is None
    assert store.transactions[-1] == ["c"]


def test_a_store_that_comes_back_is_found_without_a_request(
    store: Store, queue: RecordQueue
) -> None:
    """After a failure the queue probes by itself."""
    store.open.set()
    store.fault = LOST
    with pytest.raises(StoreError):
        queue.append(answered("a")).result(30)
    store.fault = None
    assert store.probed.wait(30)
    queue.append(answered("b")).result(30)
    assert queue.fault is None


def test_a_full_queue_refuses_at_once(store: Store, queue: RecordQueue) -> None:
    """Ten rows may wait; the eleventh is refused and not recorded, the waiting ones are."""
    hold_first_commit(store, queue)
    last = queue.append(answered("nine", 9))
    assert queue.waiting == 10
    with pytest.raises(QueueFull, match="at most 10 rows waiting"):
        queue.append(answered("refused"))
    store.open.set()
    last.result(30)
    assert store.transactions[-1] == ["nine"]


def test_closing_records_what_was_accepted_and_accepts_no_more(
    store: Store, queue: RecordQueue
) -> None:
    """Rows that waited when the service stopped are committed before `close` returns."""
    hold_first_commit(store, queue)
    queue.append(answered("last"))
    store.open.set()
    queue.close(30)
    assert store.transactions == [["first"], ["last"]]
    with pytest.raises(QueueFull, match="a service that is stopping"):
        queue.append(answered("late"))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_row_of_many_writers_is_committed(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Sixteen threads with twenty requests each, some of many rows: nothing is lost or duplicated
    on a real database."""
    url = (
        f"sqlite:///{tmp_path / 'records.db'}"
        if database == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    records = Records(open_engine(url))
    queue = RecordQueue(records)

    def write(writer: int) -> None:
        for number in range(20):
            rows = 130 if number == 7 else 1
            queue.append(answered(f"{writer}-{number}", rows)).result(60)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    queue.close(60)
    assert records.count("shop").predictions == 16 * (19 + 130)


def test_what_needs_no_wait_is_recorded_at_once(store: Store, queue: RecordQueue) -> None:
    """A store that can commit without waiting is asked first, with all requests that came together;
    the thread is never started."""
    store.quick = True

    async def record() -> None:
        await asyncio.gather(*(queue.record(answered(f"r{number}")) for number in range(3)))

    asyncio.run(record())
    assert store.transactions == [["r0", "r1", "r2"]]
    assert not store.began.is_set()
    assert queue._thread is None


def test_nothing_overtakes_what_waits(store: Store, queue: RecordQueue) -> None:
    """While requests wait for the thread, none is committed at once: records keep their order."""

    async def record() -> None:
        first = asyncio.create_task(queue.record(answered("slow")))
        await asyncio.to_thread(store.began.wait, 30)
        store.quick = True
        second = asyncio.create_task(queue.record(answered("quick")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert store.transactions == []
        store.open.set()
        await asyncio.gather(first, second)

    asyncio.run(record())
    assert store.transactions == [["slow"], ["quick"]]


def test_the_store_is_closed_with_the_queue(store: Store, queue: RecordQueue) -> None:
    """The store is closed after the last commit, not before."""
    store.open.set()
    done = queue.append(answered("r1"))
    queue.close()
    assert done.done()
    assert store.closed
