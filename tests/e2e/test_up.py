"""`closedloop up` for real: all of it starts together, a run asked for in Prefect turns the loop,
and nothing is left behind.

The tests of this file share one stack and go through its life in the order in which they stand; the
last one cuts its power.
"""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.storage.entry import Entry
from tests.e2e.running_stack import (
    MONTHS,
    Stack,
    ask,
    end,
    free_ports,
    processes_of,
    start,
    wait_until_up,
    write_customers,
)
from tests.stack.pages import Browser, find_browser
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack that the tests below share; whatever happens, its processes are gone afterwards."""
    folder = tmp_path_factory.mktemp("up")
    write_customers(folder)
    started = start(folder, free_ports("API", "MLFLOW", "PREFECT"))
    try:
        wait_until_up(started)
        yield started
    finally:
        for process in processes_of(folder):
            os.kill(process, signal.SIGKILL)
        started.process.wait()


def test_every_part_answers_where_the_command_says(stack: Stack) -> None:
    """MLflow, Prefect and the API answer at the printed addresses; without a model the API is
    alive, not ready, and says how to get one."""
    for part, path in (("MLFLOW", "/health"), ("PREFECT", "/api/health"), ("API", "/health")):
        assert stack.address(part) in stack.said
        with urllib.request.urlopen(f"{stack.address(part)}{path}", timeout=30) as response:
            assert response.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{stack.address('API')}/ready")
    assert refused.value.code == 503
    assert "closedloop monitor" in refused.value.read().decode()
    assert "no model yet" in stack.said


def test_prefect_holds_both_deployments(stack: Stack) -> None:
    """One is scheduled as loop.toml says and has its next runs, the other waits to be asked; the
    form of both offers the windows, newest first, and the sources. What only people start is there,
    too."""
    api = f"{stack.address('PREFECT')}/api"

    def found() -> list[dict[str, Any]]:
        return [
            ask(f"{api}/deployments/name/{name}")
            for name in ("monitor/customers", "train-and-compare/customers")
        ]

    until(
        lambda: all(
            "enum" in deployment["parameter_openapi_schema"]["properties"]["window"]
            for deployment in found()
        ),
        "the windows in the forms",
    )
    monitor, train = found()
    assert [
        (schedule["schedule"]["cron"], schedule["schedule"]["timezone"])
        for schedule in monitor["schedules"]
    ] == [("15 4 * * *", "Europe/Berlin")]
    assert train["schedules"] == []
    for deployment in (monitor, train):
        form = deployment["parameter_openapi_schema"]["properties"]
        assert form["window"]["enum"] == ["", *reversed(MONTHS)]
        assert form["source"]["enum"] == ["windows", "records"]
    path = str(stack.folder / "loop.toml")
    assert monitor["parameters"] == {"use_case": path, "source": "windows"}
    assert train["parameters"] == {"use_case": path}
    for name in ("rollback", "probation", "prune"):
        assert ask(f"{api}/deployments/name/{name}/customers")["parameters"] == {"use_case": path}
    waiting = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"id": {"any_": [monitor["id"]]}},
    }
    assert until(lambda: ask(f"{api}/flow_runs/count", waiting), "a scheduled run") >= 1


def test_a_run_asked_for_in_prefect_turns_the_loop(stack: Stack) -> None:
    """The run completes, the journal holds its decisions, the API answers with the new model, and
    the log is in Prefect."""
    run = stack.run_deployment("monitor/customers", window=MONTHS[0])
    assert stack.end_of(run) == "COMPLETED", (
        stack.folder / "home/logs/deployments.log"
    ).read_text()[-3000:]
    assert [entry.decision.action.value for entry in stack.decisions(MONTHS[0])][:2] == [
        "retrain",
        "promote",
    ]

    def answer() -> Any:
        try:
            return ask(f"{stack.address('API')}/predict", {"rows": [{"age": 41.0, "visits": 3}]})
        except urllib.error.HTTPError:
            return None

    assert until(answer, "an answer of the API")["version"] == 1
    logged = {"logs": {"flow_run_id": {"any_": [run]}}}
    assert ask(f"{stack.address('PREFECT')}/api/logs/filter", logged)


def test_the_report_of_a_decision_is_served(stack: Stack) -> None:
    """The address in the journal leads to this MLflow, which serves the drift report of that
    run."""
    assert stack.end_of(stack.run_deployment("monitor/customers", window=MONTHS[1])) == "COMPLETED"
    entry = stack.decisions(MONTHS[1])[0]
    assert entry.turn.run.report.startswith(f"{stack.address('MLFLOW')}/#/experiments/")
    with urllib.request.urlopen(artifact_of(stack, entry), timeout=30) as response:
        assert b"visits" in response.read()


def artifact_of(stack: Stack, entry: Entry) -> str:
    """Where MLflow serves the drift report as a file."""
    query = f"path=drift_report.html&run_uuid={entry.turn.run.run}"
    return f"{stack.address('MLFLOW')}/get-artifact?{query}"


@pytest.mark.skipif(find_browser() is None, reason="wanted chromium and chromium-driver")
def test_a_browser_shows_the_pages(stack: Stack, tmp_path: Path) -> None:
    """MLflow frames the report, the report draws its columns, Prefect works under `localhost`."""
    from closedloop.cli.decision_view import report_link

    entry = stack.decisions(MONTHS[1])[0]
    link = report_link(stack.loop(), entry)
    assert link is not None
    urllib.request.urlretrieve(artifact_of(stack, entry), tmp_path / "report.html")
    with Browser() as browser:
        assert f"monitor {MONTHS[1]}" in browser.source(link, until='src="blob:')
        browser.source((tmp_path / "report.html").as_uri(), until="visits")
        browser.source(f"http://localhost:{stack.ports['PREFECT']}/deployments", until="customers")


def test_a_second_stack_on_the_same_home_is_refused(stack: Stack) -> None:
    """Two servers on one database would hurt each other: the second command says so and starts
    nothing."""
    second = start(stack.folder, free_ports("API", "MLFLOW", "PREFECT"))
    assert second.process.wait(timeout=60) == 1
    said = (stack.folder / "up.err").read_text()
    assert said.count("\n") == 1
    assert "while another runs" in said


def test_after_a_power_cut_the_loop_turns_again(stack: Stack) -> None:
    """kill -9 in the middle of a run leaves no process; the next start gives the dead run up: later
    ones need not wait for it."""
    run = stack.run_deployment("train-and-compare/customers", window=MONTHS[1])
    until(lambda: stack.state_of(run) == "RUNNING", "the run's start")
    assert end(stack, signal.SIGKILL) == -signal.SIGKILL
    again = start(stack.folder, stack.ports)
    try:
        wait_until_up(again)
        until(lambda: again.state_of(run) == "CRASHED", "the dead run's end")
        limits = ask(f"{again.address('PREFECT')}/api/v2/concurrency_limits/filter", {})
        assert [limit["active_slots"] for limit in limits] == [0, 0]
        assert end(again, signal.SIGTERM) == 0
    finally:
        again.process.kill()


def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C before everything is up ends what was started so far."""
    write_customers(tmp_path)
    early = start(tmp_path, free_ports("API", "MLFLOW", "PREFECT"))
    try:
        until(lambda: (tmp_path / "home/logs/mlflow.log").exists(), "the first part's start")
        assert end(early, signal.SIGINT) == 0
    finally:
        early.process.kill()
    assert (tmp_path / "up.err").read_text() == ""
