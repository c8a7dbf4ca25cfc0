"""The recorder: many requests share a commit, nobody is told before it, and a store that comes back
is found by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from closedloop.errors import StoreError
from closedloop.records.queue import Recorder, RecorderBusy
from closedloop.records.request import AnsweredRequest, describe_answers
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
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
    """A store that works, holds its commits back while `open` is not set, and fails while it has a
    `fault`."""

    transactions: list[list[str]] = field(default_factory=list)
    open: Event = field(default_factory=Event)
    began: Event = field(default_factory=Event)
    probed: Event = field(default_factory=Event)
    fault: Exception | None = None
    quick: bool = False
    closed: bool = False

    def append_now(self, requests: Sequence[AnsweredRequest]) -> bool:
        if self.quick:
            self.transactions.append([one.request for one in requests])
        return self.quick

    def append(self, requests: Sequence[AnsweredRequest]) -> None:
        self.began.set()
        assert self.open.wait(30)
        if self.fault:
            raise self.fault
        self.transactions.append([one.request for one in requests])

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
def recorder(store: Store) -> Iterator[Recorder]:
    made = Recorder(store, most_waiting=10, probe_seconds=0.01)
    yield made
    store.open.set()
    made.close(30)


def hold_first_commit(store: Store, recorder: Recorder) -> None:
    recorder.append(answered("first"))
    assert store.began.wait(30)


def test_what_arrives_during_a_commit_shares_the_next_one(store: Store, recorder: Recorder) -> None:
    """Eight requests that come while one commit runs are one transaction, in their order, and none
    is done before it."""
    hold_first_commit(store, recorder)
    waiting = [recorder.append(answered(f"p{number}")) for number in range(8)]
    assert not any(one.done() for one in waiting)
    store.open.set()
    assert [one.result(30) for one in waiting] == [None] * 8
    assert store.transactions == [["first"], [f"p{number}" for number in range(8)]]


def test_coroutines_wait_without_a_thread_each(store: Store, recorder: Recorder) -> None:
    """Coroutines wait for the same commit, and the event loop goes on meanwhile."""

    async def ask() -> list[bool]:
        recording = [
            asyncio.create_task(recorder.record(answered(f"p{number}"))) for number in range(5)
        ]
        await asyncio.to_thread(store.began.wait, 30)
        before = [one.done() for one in recording]
        store.open.set()
        await asyncio.gather(*recording)
        return before

    assert asyncio.run(ask()) == [False] * 5
    assert sum(len(one) for one in store.transactions) == 5


def test_a_coroutine_that_gave_up_does_not_stop_the_others(
    store: Store, recorder: Recorder
) -> None:
    """A client that left is recorded all the same, and those beside it are told."""

    async def ask() -> None:
        hold_first_commit(store, recorder)
        left, stayed = (
            asyncio.create_task(recorder.record(answered(id))) for id in ("left", "stayed")
        )
        await asyncio.sleep(0)
        left.cancel()
        store.open.set()
        await stayed

    asyncio.run(ask())
    assert store.transactions[1:] == [["left", "stayed"]]


def test_a_failing_commit_fails_all_that_wait_for_it_and_the_next_one_tries_again(
    store: Store, recorder: Recorder
) -> None:
    """Everybody in the transaction is told why; the fault is known until something is recorded,
    which needs no restart."""
    hold_first_commit(store, recorder)
    failing = [recorder.append(answered(id)) for id in ("a", "b")]
    store.fault = LOST
    store.open.set()
    for one in failing:
        with pytest.raises(StoreError, match="wanted a database, got none"):
            one.result(30)
    assert recorder.fault is not None
    assert "got none" in recorder.fault
    store.fault = None
    recorder.append(answered("c")).result(30)
    assert recorder.fault is None
    assert store.transactions[-1] == ["c"]


def test_a_store_that_comes_back_is_found_without_a_request(
    store: Store, recorder: Recorder
) -> None:
    """After a fault the recorder probes by itself."""
    store.open.set()
    store.fault = LOST
    with pytest.raises(StoreError):
        recorder.append(answered("a")).result(30)
    store.fault = None
    assert store.probed.wait(30)
    recorder.append(answered("b")).result(30)
    assert recorder.fault is None


def test_a_full_queue_refuses_at_once(store: Store, recorder: Recorder) -> None:
    """Ten rows may wait; the eleventh is refused, nothing of it is recorded, and those that wait
    are."""
    hold_first_commit(store, recorder)
    last = recorder.append(answered("nine", 9))
    assert recorder.waiting == 10
    with pytest.raises(RecorderBusy, match="at most 10 rows that wait"):
        recorder.append(answered("refused"))
    store.open.set()
    last.result(30)
    assert store.transactions[-1] == ["nine"]


def test_closing_records_what_was_accepted_and_accepts_no_more(
    store: Store, recorder: Recorder
) -> None:
    """Rows that waited when the service stopped are committed before `close` returns."""
    hold_first_commit(store, recorder)
    recorder.append(answered("last"))
    store.open.set()
    recorder.close(30)
    assert store.transactions == [["first"], ["last"]]
    with pytest.raises(RecorderBusy, match="a service that stops"):
        recorder.append(answered("late"))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_row_of_many_writers_is_committed(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Sixteen threads with twenty requests each, some of many rows, lose and double nothing on a
    real database."""
    url = (
        f"sqlite:///{tmp_path / 'records.db'}"
        if database == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    records = Records(open_engine(url))
    recorder = Recorder(records)

    def write(writer: int) -> None:
        for number in range(20):
            rows = 130 if number == 7 else 1
            recorder.append(answered(f"{writer}-{number}", rows)).result(60)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    recorder.close(60)
    assert records.count("shop").predictions == 16 * (19 + 130)


def test_what_needs_no_wait_is_recorded_at_once(store: Store, recorder: Recorder) -> None:
    """A store that can commit without waiting is asked first, with all that came in together; the
    thread is never started."""
    store.quick = True

    async def record() -> None:
        await asyncio.gather(*(recorder.record(answered(f"r{number}")) for number in range(3)))

    asyncio.run(record())
    assert store.transactions == [["r0", "r1", "r2"]]
    assert not store.began.is_set()
    assert recorder._thread is None


def test_nothing_overtakes_what_waits(store: Store, recorder: Recorder) -> None:
    """While requests wait for the thread the store is not asked to hurry: records keep their
    order."""

    async def record() -> None:
        first = asyncio.create_task(recorder.record(answered("slow")))
        await asyncio.to_thread(store.began.wait, 30)
        store.quick = True
        second = asyncio.create_task(recorder.record(answered("quick")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert store.transactions == []
        store.open.set()
        await asyncio.gather(first, second)

    asyncio.run(record())
    assert store.transactions == [["slow"], ["quick"]]


def test_the_store_is_closed_with_the_recorder(store: Store, recorder: Recorder) -> None:
    """After what was accepted is committed, and not before."""
    store.open.set()
    done = recorder.append(answered("r1"))
    recorder.close()
    assert done.done()
    assert store.closed
