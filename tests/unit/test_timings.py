"""The stopwatch: every second is counted once, for the kind of work that spent it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest

from closedloop import timings
from closedloop.timings import Stopwatch


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timings.time, "perf_counter", lambda: clock.now)
    return clock


def test_work_inside_other_work_counts_for_the_inner_name_only(clock: Clock) -> None:
    """Of 6 seconds of which 5 were inside, one is the outer's; the sum is the time that passed."""
    watch = Stopwatch()
    with watch.measure("turn"):
        clock.pass_seconds(1)
        with watch.measure("fitting"):
            clock.pass_seconds(2)
            with watch.measure("registry"):
                clock.pass_seconds(3)
    assert watch.seconds == {"turn": 1, "fitting": 2, "registry": 3}


def test_the_same_name_adds_up_also_inside_itself(clock: Clock) -> None:
    """Two stretches of one kind, and one nested in its own kind, are each counted once."""
    watch = Stopwatch()
    for _ in range(2):
        with watch.measure("data"), watch.measure("data"):
            clock.pass_seconds(2)
    assert watch.seconds == {"data": 4}


def test_work_that_fails_is_counted_and_does_not_swallow_what_follows(clock: Clock) -> None:
    """After an exception inside nested work the outer name goes on counting its own time."""
    watch = Stopwatch()

    def fail_after(seconds: float) -> None:
        clock.pass_seconds(seconds)
        raise RuntimeError

    with watch.measure("turn"):
        with pytest.raises(RuntimeError), watch.measure("fitting"):
            fail_after(2)
        clock.pass_seconds(1)
    assert watch.seconds == {"turn": 1, "fitting": 2}


def test_threads_do_not_nest_in_each_other() -> None:
    """Work of one thread is not taken off what another thread measures at the same time, and no update is lost."""
    watch, barrier = Stopwatch(), Barrier(4)

    def work(number: int) -> None:
        for _ in range(200):
            with watch.measure(f"thread {number % 2}"):
                pass
        with watch.measure("waiting"):
            barrier.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert set(watch.seconds) == {"thread 0", "thread 1", "waiting"}
    assert all(seconds >= 0 for seconds in watch.seconds.values())


def test_only_the_ends_of_a_context_count() -> None:
    """What happens between opening and closing belongs to others; a fault inside is raised and the context closed."""
    watch, closed = Stopwatch(), []

    @contextmanager
    def server() -> Iterator[str]:
        try:
            yield "address"
        finally:
            closed.append(True)

    with watch.measure_ends("start-up", server()) as address:
        assert address == "address"
        assert not closed
        with watch.measure("work"):
            sum(range(200_000))
    assert closed == [True]
    assert watch.seconds["start-up"] < watch.seconds["work"]
    with pytest.raises(ValueError, match="inside"), watch.measure_ends("start-up", server()):
        raise ValueError("inside")
    assert closed == [True, True]
