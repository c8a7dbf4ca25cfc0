"""`make bench-serving`: servers, processes and the figures that it reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.guard.limits import Guard, RequestLimits
from api.guard.middleware import ServiceApp
from api.metrics.service import Metrics
from api.model.live import Production
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
from tests.bench.load import Load
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
    single = Load(round(2 * per_second), 2.0, 1.0, p99_ms)
    many = None if large is None else Load(round(2 * large), 2.0, 50.0, 90.0)
    return Measurement(1.5, single, many, [Memory(mb + 20, mb)], [Memory(2 * mb, 2 * mb)], 1, None)


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
        "arrow_rows_ratio_vs_mlflow": None,
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
    assert not [sentence for sentence in said if "plain" in sentence or "two workers" in sentence]


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
    app, metrics = (
        ServiceApp(),
        Metrics(Production(), RecordQueue(Records(open_engine("sqlite://")))),
    )
    app.guard(metrics, Guard(RequestLimits(), None), frozenset({Constant.path}))
    add_constant(app)
    answer = TestClient(app).post(Constant.path, content=b"{}")
    assert answer.json()["model"] == "bench"
    assert app.middleware_stack is None
    assert (
        b'closedloop_requests_total{route="/constant",status="200",use_case=""} 1.0'
        in metrics.render()
    )


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
