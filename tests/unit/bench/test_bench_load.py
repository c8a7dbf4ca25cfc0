"""The load of `make bench-serving`: what wrk prints is read, and bad runs are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from closedloop.errors import ClosedLoopError
from tests.bench.load import Load, find_wrk, put_load, read_load, write_script
from tests.http_server import serving

MEASURED = {
    "requests": 8000,
    "microseconds": 2000000,
    "p50": 2900,
    "p99": 6460,
    "refused": 0,
    "broken": 0,
}
PRINTED = """Running 2s test @ http://127.0.0.1:8000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.10ms    1.04ms  18.36ms   88.90%
  8000 requests in 2.00s, 2.80MB read
measured """
PRINTED += json.dumps(MEASURED) + "\n"


def test_what_wrk_printed_is_read() -> None:
    """Requests a second are over wrk's own time, and microseconds become milliseconds."""
    load = read_load(PRINTED, "it")
    assert load == Load(8000, 2.0, 2.9, 6.46)
    assert (load.requests_per_second, load.answered) == (4000.0, 8000)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (PRINTED.replace('"refused": 0', '"refused": 3'), "3 of them 400 or more"),
        (PRINTED.replace('"broken": 0', '"broken": 2'), "2 broken"),
        (PRINTED.replace('"requests": 8000', '"requests": 0'), "0 answers"),
        ("unable to connect to 127.0.0.1", "unable to connect"),
        ("", "nothing"),
    ],
)
def test_a_run_with_bad_answers_is_no_measurement(printed: str, said: str) -> None:
    """Refused requests, broken connections and silence end the benchmark with an error that names
    the server."""
    with pytest.raises(ClosedLoopError, match=f"the server: .*{said}"):
        read_load(printed, "the server")


def test_only_refusals_may_be_allowed() -> None:
    """Workers that warm up may refuse, and what they refused does not count as answered; a broken
    connection is a fault even then."""
    refused = PRINTED.replace('"refused": 0', '"refused": 3')
    assert read_load(refused, "it", may_refuse=True).answered == 7997
    with pytest.raises(ClosedLoopError, match="broken"):
        read_load(refused.replace('"broken": 0', '"broken": 2'), "it", may_refuse=True)


def test_without_wrk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH without wrk is said before anything is trained or started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClosedLoopError, match="apt-get install wrk"):
        find_wrk()


@contextmanager
def answering(status: int, asked: list[tuple[str, Any]]) -> Iterator[str]:
    """The address of a server that answers every POST with `status` and keeps what it was asked."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append(
                (self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            )
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *parts: Any) -> None: ...

    with serving(Answering) as address:
        yield address


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize("status", [200, 503])
def test_wrk_posts_the_body_and_a_refusal_is_seen(tmp_path: Path, status: int) -> None:
    """The script is one that wrk takes: the server is asked for the path with the body as it was
    given; 503 fails the run."""
    body, asked, script = {"rows": [{'a "quoted" [[name]]': 1.5}]}, [], tmp_path / "load.lua"
    script.write_text(write_script("/predict", json.dumps(body)))
    with answering(status, asked) as address:
        if status == 200:
            load = put_load(address, script, 1, "it")
            assert 0 < load.requests <= len(asked)
            assert 0 < load.p50_ms <= load.p99_ms
        else:
            with pytest.raises(ClosedLoopError, match="400 or more"):
                put_load(address, script, 1, "it")
    assert asked[0] == ("/predict", body)
