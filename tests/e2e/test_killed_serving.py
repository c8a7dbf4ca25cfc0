"""`closedloop serve` with two workers, killed under load: what a client was answered is on record,
and the next start is clean."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Event

import pytest

from closedloop.records.request import name_prediction
from tests.e2e.served_shop import ROW, Served, Shop, children, processes_of, serving
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

KILLS, KILLS_AT_NIGHT, KILLED_WORKERS, CLIENTS = 2, 20, 2, 6
MOST_ANSWERS = 200  # before a kill
ANSWERS_A_CONNECTION = (
    20  # then the client comes back on another one, which the other worker may take
)


@dataclass
class Clients:
    """What clients received, whole answers only: prediction id -> the key of its row, None where it
    has none."""

    received: dict[str, str | None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    changed: Condition = field(default_factory=Condition)
    over: Event = field(default_factory=Event)

    def ask(self, port: int, client: int) -> None:
        """Ask until it is over, on a new connection where one broke. Every other client sends keys:
        those are recorded in a table more."""
        asked = 0
        while not self.over.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                try:
                    for _ in range(ANSWERS_A_CONNECTION):
                        asked += 1
                        keys = [f"{port}-{client}-{asked}" if client % 2 else None, None]
                        body = json.dumps(
                            {
                                "rows": [
                                    {**ROW, **({"customer": key} if key else {})} for key in keys
                                ]
                            }
                        )
                        connection.request(
                            "POST", "/predict", body, {"Content-Type": "application/json"}
                        )
                        answer = connection.getresponse()
                        self._receive(answer.status, answer.read(), keys)
                except (OSError, http.client.HTTPException):
                    continue  # who was to answer was killed: nobody was told anything

    def _receive(self, status: int, said: bytes, keys: list[str | None]) -> None:
        with self.changed:
            if status == 200:
                ids = [row["id"] for row in json.loads(said)["predictions"]]
                self.received.update(zip(ids, keys, strict=True))
            else:
                self.faults.append(f"{status}: {said.decode()}")
            self.changed.notify_all()

    def snapshot(self) -> dict[str, str | None]:
        """What they have received by now."""
        with self.changed:
            return dict(self.received)

    def await_more(self, answers: int) -> None:
        """Return as soon as they received so many more, of two rows each."""
        with self.changed:
            enough = len(self.received) + 2 * answers
            assert self.changed.wait_for(
                lambda: len(self.received) >= enough or self.faults, PATIENCE_SECONDS
            ), "no answers come"
            assert self.faults == []


@contextmanager
def asking(served: Served, clients: Clients) -> Iterator[None]:
    """Clients that ask for the duration of the block."""
    clients.over.clear()
    with ThreadPoolExecutor(CLIENTS) as pool:
        started = [
            pool.submit(clients.ask, int(served.address.rpartition(":")[2]), client)
            for client in range(CLIENTS)
        ]
        try:
            yield
        finally:
            clients.over.set()
    for future in started:
        future.result()


def assert_on_record(shop: Shop, clients: Clients) -> None:
    """Every prediction that a client has received by now is in the database, with the key of its
    row."""
    received = clients.snapshot()
    with closing(
        sqlite3.connect(f"file:{shop.folder / 'home/closedloop.db'}?mode=ro", uri=True)
    ) as connection:
        connection.execute("BEGIN")  # both tables as they were at one moment
        answers = connection.execute('SELECT request, "rows" FROM answers').fetchall()
        keyed = connection.execute('SELECT request, "row", key FROM answer_keys').fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    recorded = {name_prediction(request, row) for request, rows in answers for row in range(rows)}
    keys = {name_prediction(request, row): key for request, row, key in keyed}
    assert set(received) - recorded == set()
    assert {id: key for id, key in received.items() if keys.get(id) != key} == {}
    # All or nothing, also where nobody heard of it: no key without its request.
    assert set(keys) <= recorded


def workers_of(parent: int) -> set[int]:
    """The processes that answer; Python's own, which tidies up after them, is none."""
    found = set()
    for child in children(parent):
        try:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
        except OSError:
            continue
    return found


def until_two_work(parent: int, without: int | None = None) -> set[int]:
    """The two workers, once there are two and none of them is the one that was killed."""

    def find() -> set[int] | None:
        found = workers_of(parent)
        return found if len(found) == 2 and without not in found else None

    return set(until(find, "two workers"))


@pytest.mark.parametrize("kills", [KILLS, pytest.param(KILLS_AT_NIGHT, marks=pytest.mark.nightly)])
def test_every_answer_survives_kills_of_the_whole_service(shop: Shop, kills: int) -> None:
    """Parent and workers are killed at once, again and again, while six clients ask: the service
    that starts next is ready, answers, refuses nothing, and finds a record of each answer that any
    client ever received; nothing of the killed one goes on."""
    draw, clients = random.Random(9), Clients()
    for _ in range(kills):
        with serving(shop) as served:
            if clients.received:
                assert_on_record(shop, clients)
            (parent,) = children(served.process.pid)
            with asking(served, clients):
                clients.await_more(draw.randint(1, MOST_ANSWERS))
                os.killpg(parent, signal.SIGKILL)
                served.process.wait(PATIENCE_SECONDS)
            until(lambda: not processes_of(shop), "the end of all that was killed")
    with serving(shop) as served:
        assert served.ask("/predict", ROW)["version"] == 1
        assert_on_record(shop, clients)
    assert clients.faults == []


def test_every_answer_survives_the_kill_of_one_worker_after_the_other(shop: Shop) -> None:
    """The older worker is killed under load, again and again, so that soon only those answer that
    took the place of another: no request is refused, and each answer that was received is on
    record."""
    draw, clients = random.Random(9), Clients()
    with serving(shop) as served:
        (parent,) = children(served.process.pid)
        with asking(served, clients):
            killed = min(until_two_work(parent))
            for _ in range(KILLED_WORKERS):
                clients.await_more(draw.randint(1, MOST_ANSWERS))
                (kept,) = workers_of(parent) - {killed}
                os.kill(killed, signal.SIGKILL)
                assert kept in until_two_work(parent, without=killed)
                clients.await_more(draw.randint(1, MOST_ANSWERS))
                assert_on_record(shop, clients)
                killed = kept
    assert clients.faults == []
