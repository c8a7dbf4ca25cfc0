"""The benchmark's own arithmetic: what wrk prints is read right, bad runs are refused, ratios and
tables say what was measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.guard.limits import Gate, Limits
from api.guard.middleware import Service
from api.metrics.service import Metrics
from api.model.live import Production
from closedloop.errors import ClosedLoopError
from closedloop.records.queue import RecordQueue
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from tests.bench.ceiling_app import Constant, add_constant
from tests.bench.figures import (
    BEGIN,
    END,
    HEADINGS,
    compare,
    ratio_sentences,
    report,
    summarise,
    table_rows,
    write_block,
)
from tests.bench.load import Load, find_wrk, put_load, read_load, write_script
from tests.bench.measuring import Measurement
from tests.bench.processes import Memory, weigh_workers
from tests.bench.servers import (
    CEILING,
    MLFLOW,
    OURS,
    PLAIN,
    ROOT,
    TWO_WORKERS,
    Server,
    server_environment,
)

PRINTED = """Running 2s test @ http://127.0.0.1:8000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.10ms    1.04ms  18.36ms   88.90%
  8000 requests in 2.00s, 2.80MB read
measured {"requests": 8000, "microseconds": 2000000, "p50": 2900, "p99": 6460, "refused": 0, "broken": 0}
"""
CIRCUMSTANCES = {
    "date": "2026-11-21",
    "seconds": 10,
    "repetitions": 3,
    "machine": {
        "processor": "a processor",
        "processors": 2,
        "python": "3.11.7",
        "load_before": 0.1,
        "versions": {"mlflow": "3.17.2"},
    },
}


def measured(
    per_second: float, p99_ms: float = 5.0, large: float | None = 10.0, mb: float = 100.0
) -> Measurement:
    """A measurement of two seconds; `large` is requests of many rows a second."""
    one = Load(round(2 * per_second), 2.0, 1.0, p99_ms)
    many = None if large is None else Load(round(2 * large), 2.0, 50.0, 90.0)
    return Measurement(1.5, one, many, [Memory(mb + 20, mb)], [Memory(2 * mb, 2 * mb)], 1, None)


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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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


def test_medians_not_means() -> None:
    """One run on a busy machine moves nothing; what was not measured is None."""
    found = summarise(
        [measured(100, large=None), measured(110, large=None), measured(1, p99_ms=900, large=None)],
        rows=1000,
    )
    assert (found["requests_per_second"], found["p99_ms"]) == (100, 5.0)
    assert (found["batch_rows_per_second"], found["batch_p99_ms"]) == (None, None)
    assert summarise([measured(1, large=7)], rows=1000)["batch_rows_per_second"] == 7000
    assert summarise([replace(measured(1), workers=[Memory(80, None)])], rows=1)["worker_mb"] == 80


def test_ratios_are_ours_over_theirs() -> None:
    """Above 1 is faster for requests and rows, slower for p99; a server that was left out gives no
    ratio."""
    found = {
        OURS: summarise([measured(5000, p99_ms=6, large=30)], 1000),
        MLFLOW: summarise([measured(100, p99_ms=300, large=20)], 1000),
        PLAIN: summarise([measured(200)], 1000),
        CEILING: summarise([measured(20_000, large=None)], 1000),
    }
    assert compare(found) == {
        "ratio_vs_mlflow": 50,
        "ratio_vs_plain": 25,
        "ratio_vs_ceiling": 0.25,
        "ratio_two_workers": None,
        "p99_ratio_vs_mlflow": 0.02,
        "batch_rows_ratio_vs_mlflow": 1.5,
        "batch_rows_ratio_two_workers": None,
        "invocations_ratio_vs_mlflow": None,
        "invocations_rows_ratio_vs_mlflow": None,
    }
    assert (
        compare({**found, TWO_WORKERS: summarise([measured(9000)], 1000)})["ratio_two_workers"]
        == 1.8
    )


def whole_report() -> dict[str, Any]:
    return report(
        {
            OURS: [measured(5000, mb=95)],
            MLFLOW: [measured(100)],
            CEILING: [measured(20_000, large=None)],
        },
        1000,
        CIRCUMSTANCES,
    )


def test_the_report_is_json_with_ratios_memory_and_every_run() -> None:
    """serving.json has what later runs are held against under the promised names, and nothing that
    JSON cannot carry."""
    content = json.loads(json.dumps(whole_report()))
    assert (content["ratio_vs_mlflow"], content["start_seconds"], content["ratio_vs_plain"]) == (
        50,
        1.5,
        None,
    )
    assert content["worker_mb"] == {OURS: [{"rss": 115, "pss": 95}]}
    assert content["servers"][OURS]["runs"][0]["one"]["requests_per_second"] == 5000
    assert content["servers"][CEILING]["runs"][0]["many"] is None


def test_the_table_has_a_line_a_server() -> None:
    """Each line has a cell under each heading, thousands are parted, and a dash stands for what was
    not measured."""
    lines = table_rows(whole_report()["servers"])
    assert [line[0] for line in lines] == [OURS, MLFLOW, CEILING]
    assert lines[0] == (OURS, "5,000", "1.00", "5.00", "10,000", "1.5", "95")
    assert lines[2][4] == "-"
    assert {len(line) for line in lines} == {len(HEADINGS)}


def test_only_what_was_measured_is_claimed() -> None:
    """A ratio without a measurement is not in the sentences."""
    said = ratio_sentences(whole_report())
    assert "50.0 times the requests a second of `mlflow models serve`" in said
    assert not [one for one in said if "plain" in one or "two workers" in one]


def test_the_figures_replace_those_that_were_there() -> None:
    """Writing twice leaves one table and the text around it; a document without a place for them is
    refused."""
    once = write_block(f"before\n{BEGIN}\nold\n{END}\nafter\n", whole_report())
    assert once.startswith(f"before\n{BEGIN}\n| server |")
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once
    assert "2026-11-21, a processor, 2 processors" in once
    assert write_block(once, whole_report()) == once
    with pytest.raises(ValueError, match="no place for the figures"):
        write_block("nothing", whole_report())


def test_the_document_has_a_place_for_the_figures() -> None:
    """docs/benchmarks.md can be rewritten by the benchmark."""
    assert "| server |" in write_block(
        (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), whole_report()
    )


def test_the_processes_that_answer_are_weighed(tmp_path: Path) -> None:
    """Of a server, its two workers and Python's tracker the workers count, in MB of a million
    bytes; strangers never do."""

    def process(pid: int, parent: int, command: str, kilobytes: int) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (a (strange) name) S {parent} 0 0")
        (folder / "cmdline").write_text(command)
        (folder / "smaps_rollup").write_text(
            f"00-ff ---p [rollup]\nRss: {kilobytes} kB\nPss: {kilobytes // 2} kB\n"
        )

    process(10, 1, "serve", 9000)
    process(11, 10, "from multiprocessing.resource_tracker import main", 500)
    process(12, 10, "worker", 100_000)
    process(13, 10, "worker", 200_000)
    process(14, 1, "stranger", 300_000)
    assert weigh_workers(10, tmp_path) == [Memory(102.4, 51.2), Memory(204.8, 102.4)]
    assert weigh_workers(14, tmp_path) == [Memory(307.2, 153.6)]
    assert weigh_workers(99, tmp_path) == []


def test_the_constant_goes_the_way_of_predict() -> None:
    """It is answered past the framework, whose layers are not even built, and counted by the same
    watch."""
    app, metrics = Service(), Metrics(Production(), RecordQueue(Records(open_engine("sqlite://"))))
    app.watch(metrics, Gate(Limits(), None), frozenset({Constant.path}))
    add_constant(app)
    answer = TestClient(app).post(Constant.path, content=b"{}")
    assert answer.json()["model"] == "bench"
    assert app.middleware_stack is None
    assert b'closedloop_requests_total{route="/constant",status="200"} 1.0' in metrics.render()


def test_a_server_finds_nothing_of_the_callers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Addresses and settings of an installation do not reach what is measured; ours gets a database
    of its own, MLflow gets none."""
    for name in ("CLOSEDLOOP_ANSWER_WITHOUT_RECORDS", "MLFLOW_TRACKING_URI", "UVICORN_WORKERS"):
        monkeypatch.setenv(name, "1")
    server = Server(OURS, lambda port: [], "/predict", lambda rows: "", None, records=True)
    ours = server_environment(server, tmp_path / "home", tmp_path / "state")
    assert not {
        "CLOSEDLOOP_ANSWER_WITHOUT_RECORDS",
        "MLFLOW_TRACKING_URI",
        "UVICORN_WORKERS",
    } & set(ours)
    assert ours["CLOSEDLOOP_DATABASE_URL"] == f"sqlite:///{tmp_path / 'state' / 'closedloop.db'}"
    theirs = server_environment(
        replace(server, name=MLFLOW, records=False), tmp_path / "home", tmp_path / "state"
    )
    assert not [name for name in theirs if name.startswith("CLOSEDLOOP_")]
