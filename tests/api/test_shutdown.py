"""A service that is told to stop finishes what it accepted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from closedloop.records.request import name_prediction
from closedloop.storage.engine import open_engine
from tests.api.serving_child import serve_until_told
from tests.waiting import until

ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
RECORDED = text('SELECT request, "rows" FROM answers')
CLIENTS = 8


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(30)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="the children are forked, which this system cannot"
)
@pytest.mark.usefixtures("bundles")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_what_was_accepted_is_answered_and_recorded_before_the_end(
    bundle_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Eight requests wait for their commit when the signal comes: nobody new is let in, all eight
    are answered 200 and are on record, and the process ends with code 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database, url = f"sqlite:///{tmp_path / 'records.db'}", f"http://127.0.0.1:{port}"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.api.serving_child", "skops.io", "sklearn.pipeline"])
    child = context.Process(
        target=serve_until_told, args=(bundle_folder / "1", database, port), daemon=True
    )
    child.start()
    engine = open_engine(database)
    try:
        until(lambda: is_ready(url), "a ready service")
        answers = [httpx.post(f"{url}/predict", json=ROW, timeout=60)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            with engine.begin():  # holds the database: nothing is committed, so nobody is answered
                clients = [
                    pool.submit(httpx.post, f"{url}/predict", json=ROW, timeout=60)
                    for _ in range(CLIENTS)
                ]
                until(
                    lambda: (
                        f'closedloop_records_waiting{{use_case=""}} {CLIENTS}.0'
                        in httpx.get(f"{url}/metrics").text
                    ),
                    "eight requests under way",
                )
                os.kill(child.pid or 0, number)
                until(lambda: is_refused(port), "a closed door")
                assert not any(client.done() for client in clients)
            answers += [client.result(60) for client in clients]
        child.join(60)
        assert [answer.status_code for answer in answers] == [200] * (1 + CLIENTS)
        assert child.exitcode == 0
        with engine.begin() as connection:
            recorded = {
                name_prediction(request.request, row)
                for request in connection.execute(RECORDED)
                for row in range(request.rows)
            }
        assert recorded == {
            prediction["id"] for answer in answers for prediction in answer.json()["predictions"]
        }
    finally:
        child.kill()
        child.join()
        engine.dispose()
