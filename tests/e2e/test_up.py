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
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.app import main
from closedloop.operations.access.ask import ask
from closedloop.operations.access.servers_file import find_running
from closedloop.storage.entry import Entry
from flows.prefect_client import standstill
from flows.prefect_client.standstill import find_standstill
from tests.e2e.running_stack import (
    MONTHS,
    Stack,
    end,
    processes_of,
    stack_ports,
    start,
    status_of,
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
    started = start(folder, stack_ports())
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
        stack.ask("API", "/ready")
    assert refused.value.code == 503
    assert "closedloop monitor" in refused.value.read().decode()
    assert "no model yet" in stack.said


def test_a_second_use_case_runs_beside_it(stack: Stack) -> None:
    """`visitors`, named second in CLOSEDLOOP_USE_CASES, has deployments of its own, a prefix in the
    same API, and a page on the next port; the first also answers without a prefix."""
    for flow in ("monitor", "train-and-compare"):
        assert f"{flow}/visitors" in stack.said
        found = stack.ask("PREFECT", f"/api/deployments/name/{flow}/visitors")
        assert found["parameters"]["use_case"] == str(stack.folder / "visitors.toml")
    for path in ("/use-cases/visitors/health", "/use-cases/customers/health", "/health"):
        assert status_of(f"{stack.address('API')}{path}") == 200
    running = find_running(stack.folder / "home")
    assert running["page-visitors"].address.endswith(f":{stack.ports['PAGE'] + 1}")
    for page, name in (("page-customers", "customers"), ("page-visitors", "visitors")):
        assert running[page].link() in stack.said.split()
        assert status_of(f"{running[page].address}/alive") == 200
        assert f"the page, {name}" in stack.said


def test_prefect_holds_both_deployments(stack: Stack) -> None:
    """One is scheduled as loop.toml says and has its next runs, the other waits to be asked; the
    form of both offers the windows, newest first, and the sources. What only people start is there,
    too."""

    def found() -> list[dict[str, Any]]:
        return [
            stack.ask("PREFECT", f"/api/deployments/name/{name}")
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
    for name in ("answer", "rollback", "probation", "prune"):
        made = stack.ask("PREFECT", f"/api/deployments/name/{name}/customers")
        assert made["parameters"] == {"use_case": path}
    waiting = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"id": {"any_": [monitor["id"]]}},
    }
    count = until(lambda: stack.ask("PREFECT", "/api/flow_runs/count", waiting), "a scheduled run")
    assert count >= 1


def test_only_who_has_the_login_is_let_in(stack: Stack) -> None:
    """Without it Prefect and MLflow answer 401, with a wrong one too, and all three refuse a
    foreign name, a foreign page, and a body that a form can send; the logins stand on no command
    line, in no log and in a file for the owner only."""
    doors = {"PREFECT": "/api/admin/version", "MLFLOW": "/", "API": "/docs"}
    wrong = {"Authorization": f"Basic {b64encode(b'closedloop:guess').decode()}"}
    for part, path in doors.items():
        address = f"{stack.address(part)}{path}"
        expected = 200 if part == "API" else 401
        assert [status_of(address), status_of(address, wrong)] == [expected, expected]
        for foreign in (
            {"Host": f"evil.example:{stack.ports[part]}"},
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert status_of(address, foreign) == 403
    posted = f"{stack.address('API')}/labels"
    assert status_of(posted, {"Content-Type": "text/plain"}, b"{}") == 415
    running = find_running(stack.folder / "home")
    assert set(running) == {"Prefect", "MLflow", "page-customers", "page-visitors"}
    assert (stack.folder / "home/servers.json").stat().st_mode & 0o77 == 0
    lines = [place.read_bytes() for place in Path("/proc").glob("[0-9]*/cmdline")]
    logs = [log.read_bytes() for log in (stack.folder / "home/logs").glob("*.log")]
    for server in running.values():
        secret = server.login.partition(":")[2]
        assert secret in stack.said
        assert not any(secret.encode() in text for text in (*lines, *logs))


def test_a_paused_schedule_is_told(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status` and `doctor` of another terminal find the server of this home and say what is
    paused there; `status` has the links that let a person in."""
    # They wait three seconds for Prefect and then say that it does not answer: a busy machine's.
    monkeypatch.setattr(standstill, "_SECONDS", 60.0)
    found = stack.ask("PREFECT", "/api/deployments/name/monitor/customers")
    home, name = stack.folder / "home", "customers"
    use_case = ["--use-case", str(stack.folder / "loop.toml")]
    environment = {**os.environ, "CLOSEDLOOP_HOME": str(home)}
    assert find_standstill(name, home, {}) == ()
    stack.ask("PREFECT", f"/api/deployments/{found['id']}/pause_deployment", {})
    try:
        assert find_standstill(name, home, {}) == ("monitor/customers is paused",)
        assert main(["status", *use_case], environment) == 0
        said = capsys.readouterr().out
        assert "monitor/customers is paused" in said
        assert all(server.link() in said for server in find_running(home).values())
        assert main(["doctor", *use_case], environment) == 1
        assert "schedule: monitor/customers is paused" in capsys.readouterr().out
    finally:
        stack.ask("PREFECT", f"/api/deployments/{found['id']}/resume_deployment", {})


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
            return stack.ask("API", "/predict", {"rows": [{"age": 41.0, "visits": 3}]})
        except urllib.error.HTTPError:
            return None

    assert until(answer, "an answer of the API")["version"] == 1
    logged = {"logs": {"flow_run_id": {"any_": [run]}}}
    assert stack.ask("PREFECT", "/api/logs/filter", logged)


def test_the_report_of_a_decision_is_served(stack: Stack) -> None:
    """The address in the journal leads to this MLflow, which serves the drift report of that
    run."""
    assert stack.end_of(stack.run_deployment("monitor/customers", window=MONTHS[1])) == "COMPLETED"
    entry = stack.decisions(MONTHS[1])[0]
    assert entry.turn.run.report.startswith(f"{stack.address('MLFLOW')}/#/experiments/")
    assert b"visits" in report_of(stack, entry)


def report_of(stack: Stack, entry: Entry) -> bytes:
    """The drift report as MLflow serves it as a file."""
    query = f"path=drift_report.html&run_uuid={entry.turn.run.run}"
    login = find_running(stack.folder / "home")["MLflow"].login
    return ask(f"{stack.address('MLFLOW')}/get-artifact?{query}", login, timeout=30)


@pytest.mark.skipif(find_browser() is None, reason="wanted chromium and chromium-driver")
def test_a_browser_shows_the_pages(stack: Stack, tmp_path: Path) -> None:
    """The printed links let a person in, and only they do; MLflow frames the report, the report
    draws its columns, Prefect works under `localhost` and is locked again for a new browser."""
    from closedloop.cli.decision_view import report_link

    entry = stack.decisions(MONTHS[1])[0]
    plain, link = (report_link(stack.loop(), entry, let_in=let_in) for let_in in (False, True))
    assert plain is not None
    assert link is not None
    (tmp_path / "report.html").write_bytes(report_of(stack, entry))
    printed = [word for word in stack.said.split() if "token=" in word]
    assert len(printed) == 6
    mlflow, prefect = (
        next(link for link in printed if link.startswith(f"{stack.address(part)}/"))
        for part in ("MLFLOW", "PREFECT")
    )
    with Browser() as browser:
        assert "closedloop status shows" in browser.source(plain, until="wanted a login")
        assert f"monitor {MONTHS[1]}" in browser.source(link, until='src="blob:')
        browser.source((tmp_path / "report.html").as_uri(), until="visits")
        under_another_name = prefect.replace("127.0.0.1", "localhost")
        browser.source(under_another_name, until="customers")
        browser.source(f"http://localhost:{stack.ports['PREFECT']}/runs", until="monitor")
        browser.source(f"{stack.address('PREFECT')}/runs", until="wanted a login")
        browser.source(prefect, until="customers")
        browser.source(mlflow, until="customers")


def test_a_second_stack_on_the_same_home_is_refused(stack: Stack) -> None:
    """Two servers on one database would hurt each other: the second command says so and starts
    nothing."""
    second = start(stack.folder, stack_ports())
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
        limits = again.ask("PREFECT", "/api/v2/concurrency_limits/filter", {})
        assert [limit["active_slots"] for limit in limits] == [0] * 8
        assert end(again, signal.SIGTERM) == 0
    finally:
        again.process.kill()


@pytest.mark.nightly
def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C before everything is up ends what was started so far."""
    write_customers(tmp_path)
    early = start(tmp_path, stack_ports())
    try:
        until(lambda: (tmp_path / "home/logs/mlflow.log").exists(), "the first part's start")
        assert end(early, signal.SIGINT) == 0
    finally:
        early.process.kill()
    assert (tmp_path / "up.err").read_text() == ""
