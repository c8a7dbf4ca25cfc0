"""A real server, real threads, and promotions while they ask."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Semaphore, Thread
from typing import Any

import httpx
import numpy as np
import pandas as pd
import uvicorn

from api.server import configure
from closedloop.bundle.frames import score_frame
from closedloop.windows.prepare import prepare

Service = Any  # tests/api/conftest.py
CLIENTS = 4
ROWS = [
    {"monthly spend": 10.0 * number, "visits": number, "plan": "gold", "returning": "True"}
    for number in range(5)
]


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """The app behind uvicorn on a port of its own; whoever connects early waits in the socket's
    queue."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configure(app, log_level="warning"))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
    assert not thread.is_alive()


def test_promotions_under_load_fail_no_answer_and_mix_no_versions(
    make_service: Callable[..., Service],
) -> None:
    """While four clients ask, production moves 1 -> 2 -> a broken one -> 3: every request is
    answered, each answer's numbers are exactly those of the version it names, no client sees a
    version come back, and each answer is on record."""
    service = make_service(follow_seconds=0.01)
    swapped = {version: Event() for version in (1, 2, 3)}
    service.follower._note_live = lambda version: swapped[version].set()
    service.versions.load_faults[9] = OSError("half a model")
    expected = {}
    for version, bundle in service.versions.bundles.items():
        rows = prepare(pd.DataFrame(ROWS), bundle.use_case)
        expected[version] = score_frame(bundle.scorer, rows)
    stop, answered = Event(), Semaphore(0)
    answered_by = {version: Event() for version in (1, 2, 3)}

    def ask(url: str) -> list[dict[str, Any]]:
        answers = []
        with httpx.Client(base_url=url, timeout=60) as client:
            while not stop.is_set():
                answer = client.post("/predict", json={"rows": ROWS})
                assert answer.status_code == 200, answer.text
                answers.append(answer.json())
                answered_by[answers[-1]["version"]].set()
                answered.release()
        return answers

    def wait_for_answers(number: int) -> None:
        assert all(answered.acquire(timeout=60) for _ in range(number))

    service.versions.production = 1
    with serve(service.app) as url, ThreadPoolExecutor(CLIENTS) as pool:
        assert swapped[1].wait(60)
        clients = [pool.submit(ask, url) for _ in range(CLIENTS)]
        try:
            assert answered_by[1].wait(60)
            service.versions.production = 2
            assert swapped[2].wait(60)
            assert answered_by[2].wait(60)
            service.versions.production = 9
            while "9" not in httpx.get(f"{url}/ready", timeout=60).json()["refused"]:
                wait_for_answers(1)
            service.versions.production = 3
            assert swapped[3].wait(60)
            assert answered_by[3].wait(60)
        finally:
            stop.set()
        answers = [client.result(60) for client in clients]

    for of_client in answers:
        versions = [answer["version"] for answer in of_client]
        assert versions == sorted(versions)
        for answer in of_client:
            got = np.array([list(row["probabilities"].values()) for row in answer["predictions"]])
            np.testing.assert_array_equal(got, expected[answer["version"]])
    assert {answer["version"] for of_client in answers for answer in of_client} == {1, 2, 3}
    assert service.records.count("shop").predictions == sum(
        len(of_client) for of_client in answers
    ) * len(ROWS)
