"""A Prefect server that is asked about the schedule while it is busy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from flows.prefect_client import standstill
from flows.prefect_client.standstill import find_standstill
from tests.http_server import serving

DEPLOYED = {
    "/flows/filter": [{"id": "1", "name": "monitor"}],
    "/deployments/filter": [
        {
            "flow_id": "1",
            "paused": True,
            "schedules": [{"active": True}],
            "work_pool_name": None,
            "work_queue_id": None,
        }
    ],
}


@contextmanager
def answering(busy: int) -> Iterator[str]:
    """A server that refuses so many requests with 503, as Prefect does while another writes."""
    left = iter(range(busy))

    class BusyPrefect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = json.dumps(DEPLOYED[self.path.removeprefix("/api")]).encode()
            self.send_response(200 if next(left, None) is None else 503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with serving(BusyPrefect) as address:
        yield f"{address}/api"


def test_a_busy_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says then counts; one that stays busy is named after the patience of a command."""
    monkeypatch.setattr(standstill, "_SECONDS", 60.0)
    with answering(busy=2) as address:
        found = find_standstill("shop", tmp_path, {"PREFECT_API_URL": address})
    assert found == ("monitor/shop is paused",)
    monkeypatch.setattr(standstill, "_SECONDS", 0.5)
    with answering(busy=10**9) as address:
        (told,) = find_standstill("shop", tmp_path, {"PREFECT_API_URL": address}) or ()
    assert told.startswith(f"Prefect at {address} does not say whether the schedule runs: HTTP")
