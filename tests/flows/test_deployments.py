"""The deployments of a team's Prefect server, on a real one with real workers: what is deployed,
what runs, and what is found dead.

The tests of this file share one server and go through its life in the order in which they stand;
the last ones kill a worker.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Kind
from tests.flows.conftest import PRELOADED, add_months, write_use_case
from tests.flows.team import ENDS, Team
from tests.postgres import Cluster, postgres  # noqa: F401  # a fixture
from tests.waiting import until

pytestmark = pytest.mark.slow

MONITOR, TRAIN = "monitor/streamflow", "train-and-compare/streamflow"


@pytest.fixture(scope="module")
def team(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A server without deployments, and a use case whose rows are still to come."""
    folder = tmp_path_factory.mktemp("team")
    changes = {
        'cron = "0 6 * * *"': 'cron = "30 5 * * *"',
        'timezone = "UTC"': 'timezone = "Europe/Berlin"',
    }
    path = write_use_case(folder / "case", changes=changes)
    server, store = (postgres.make_database().partition("://")[2] for _ in range(2))
    found = Team(folder, path, f"postgresql+asyncpg://{server}", f"postgresql+psycopg://{store}")
    try:
        found.start_server()
        warm = threading.Thread(target=take_turn, args=(found, True))
        warm.start()
        found.wait_for_server()
        warm.join()
        yield found
    finally:
        found.stop()


def take_turn(team: Team, only_warm: bool = False) -> None:
    """`monitor_flow` in a child process, as `closedloop monitor` would run it on this server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    child = context.Process(
        target=monitor_in_child, args=(team.url, team.environment, str(team.path), only_warm)
    )
    child.start()
    child.join()
    assert child.exitcode == 0


def monitor_in_child(url: str, environment: dict[str, str], path: str, only_warm: bool) -> None:
    os.environ.update(environment)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.monitor_flow import monitor_flow

    # Said here and not left to the environment: the process that we were forked from may be older
    # than the server.
    with temporary_settings(updates={PREFECT_API_URL: url}):
        if not only_warm:
            monitor_flow(use_case=path)


@pytest.fixture(scope="module")
def deployed(team: Team) -> Team:
    """The use case is deployed."""
    if not team.ask("/deployments/filter", {}):
        team.deploy(team.path)
    return team


@pytest.fixture(scope="module")
def worker(deployed: Team) -> Team:
    """One worker for each pool, which takes one run at a time; that of the trainings has none to
    take before `let_train`."""
    let_train(deployed, False)
    for pool in ("closedloop", "closedloop-training"):
        deployed.start_worker(pool, "--limit", "1")
    return deployed


def let_train(team: Team, allowed: bool) -> None:
    """Let the pool of the trainings hand runs out, or keep them."""
    team.ask("/work_pools/closedloop-training", {"is_paused": not allowed}, "PATCH")


def form_of(team: Team, name: str) -> dict[str, Any]:
    """What Prefect's page asks for, by parameter."""
    return dict(team.deployment(name)["parameter_openapi_schema"]["properties"])


def everything(team: Team) -> dict[str, Any]:
    """What `flows.deployment.deploy` makes, without the times at which it was changed."""

    def lasting(one: Any) -> Any:
        if isinstance(one, dict):
            return {
                name: lasting(value)
                for name, value in one.items()
                if name not in ("updated", "last_polled", "status")
            }
        return [lasting(value) for value in one] if isinstance(one, list) else one

    kinds = ("deployments", "work_pools", "automations", "v2/concurrency_limits")
    return {
        kind: sorted(map(lasting, team.ask(f"/{kind}/filter", {})), key=lambda one: str(one["id"]))
        for kind in kinds
    }


def test_deploying_again_changes_nothing(team: Team) -> None:
    """The second time makes no second deployment, schedule, pool or automation, leaves paused what
    a person has paused, and reports what is not listed any more without touching it."""
    team.deploy(team.path)
    found = everything(team)
    assert [len(found[kind]) for kind in ("deployments", "work_pools", "automations")] == [5, 2, 2]
    monitor, train = team.deployment(MONITOR), team.deployment(TRAIN)
    assert [
        (one["schedule"]["cron"], one["schedule"]["timezone"]) for one in monitor["schedules"]
    ] == [("30 5 * * *", "Europe/Berlin")]
    assert train["schedules"] == []
    assert [
        (one["work_pool_name"], one["concurrency_options"]["collision_strategy"])
        for one in (monitor, train)
    ] == [("closedloop", "CANCEL_NEW"), ("closedloop-training", "ENQUEUE")]
    assert {one["global_concurrency_limit"]["limit"] for one in (monitor, train)} == {1}

    schedule = f"/deployments/{monitor['id']}/schedules/{monitor['schedules'][0]['id']}"
    team.ask(
        "/deployments/",
        {"name": "of-last-year", "flow_id": monitor["flow_id"], "tags": ["closedloop"]},
    )
    team.ask(schedule, {"active": False}, "PATCH")
    team.ask(f"/deployments/{train['id']}/pause_deployment", {})
    found = everything(team)
    said = team.deploy(team.path)
    assert everything(team) == found
    by_hand = [
        f"{flow}/streamflow: in closedloop, when asked"
        for flow in ("probation", "prune", "rollback")
    ]
    assert said[:5] == [
        f"{MONITOR}: in closedloop, 30 5 * * * Europe/Berlin (paused)",
        *by_hand,
        f"{TRAIN}: in closedloop-training, when asked (paused)",
    ]
    assert [line.split(",")[0] for line in said[5:]] == [
        "monitor/of-last-year: not in CLOSEDLOOP_USE_CASES"
    ]
    team.ask(schedule, {"active": True}, "PATCH")
    team.ask(f"/deployments/{train['id']}/resume_deployment", {})


def test_the_form_says_what_can_be_asked_for(deployed: Team) -> None:
    """Each parameter has a type and says what it is for; windows (none so far) and sources are
    choices, the use case is what it is."""
    for name in (MONITOR, TRAIN):
        form = form_of(deployed, name)
        assert all(one["title"] and one["description"] and one["type"] for one in form.values())
        assert (form["window"]["enum"], form["window"]["default"]) == ([""], "")
        assert (form["source"]["enum"], form["source"]["default"]) == (
            ["windows", "records"],
            "windows",
        )
        assert (form["use_case"]["enum"], form["use_case"]["readOnly"]) == (
            [str(deployed.path)],
            True,
        )


def test_a_retraining_is_a_run_of_its_own(worker: Team) -> None:
    """A run that was asked for over REST decides to retrain and starts one training in the other
    pool, as its child. Looking again starts no other one while that one waits, but does after it
    was cancelled; that one promotes. The form offers the window that came since it was deployed."""
    add_months(worker.path, 0)
    run = worker.run(MONITOR)
    assert worker.end_of(run)["type"] == "COMPLETED", (
        worker.folder / "closedloop.log"
    ).read_text()[-3000:]
    assert [form_of(worker, name)["window"]["enum"] for name in (MONITOR, TRAIN)] == [
        ["", "month_000"]
    ] * 2
    (first,) = worker.runs(TRAIN)
    assert first["state_type"] == "SCHEDULED"
    assert worker.ask(f"/task_runs/{first['parent_task_run_id']}")["flow_run_id"] == run
    (decision,) = worker.loop().journal.history("streamflow")
    assert decision.decision.action is Action.RETRAIN
    assert (first["parameters"]["cause"], first["parameters"]["window"]) == (
        decision.id,
        "month_000",
    )

    take_turn(worker)
    assert len(worker.runs(TRAIN)) == 1
    worker.ask(f"/flow_runs/{first['id']}/set_state", {"state": {"type": "CANCELLED"}})
    take_turn(worker)
    (second,) = [one for one in worker.runs(TRAIN) if one["id"] != first["id"]]

    let_train(worker, True)
    assert worker.end_of(second["id"])["type"] == "COMPLETED", (
        worker.folder / "closedloop-training.log"
    ).read_text()[-3000:]
    let_train(worker, False)
    assert worker.loop().registry.production() == 1
    kinds = [
        (one.decision.kind, one.outcome) for one in worker.loop().journal.history("streamflow")
    ]
    assert kinds == [(Kind.RETRAINING, "done"), (Kind.PROMOTION, "done")]


def test_what_was_missed_runs_once(worker: Team) -> None:
    """Ten days without a worker leave ten scheduled runs: when it is back, one of them looks, and
    the others end as cancelled. What was decided before on the same data is not trained again."""
    from flows.server.missed_runs import MISSED

    now, trained = datetime.now(UTC), len(worker.runs(TRAIN))
    dates = {
        "start_time": (now - timedelta(days=10)).isoformat(),
        "end_time": now.isoformat(),
        "min_runs": 10,
        "max_runs": 10,
    }

    def missed() -> list[dict[str, Any]]:
        return [one for one in worker.runs(MONITOR) if one["auto_scheduled"]]

    worker.ask("/work_pools/closedloop", {"is_paused": True}, "PATCH")
    worker.ask(f"/deployments/{worker.deployment(MONITOR)['id']}/schedule", dates)
    until(lambda: [one["state_name"] for one in missed()] == ["Late"] * 10, "ten late runs")
    # A pool that hands out one run at a time would hand out all ten in turn: Prefect cancels only
    # what is due while one runs.
    worker.ask("/work_pools/closedloop", {"is_paused": False, "concurrency_limit": 1}, "PATCH")
    until(lambda: all(one["state_type"] in ENDS for one in missed()), "their end")
    first, *others = missed()
    assert first["state_type"] == "COMPLETED"
    assert {(one["state_type"], one["state"]["message"]) for one in others} == {
        ("CANCELLED", MISSED)
    }
    assert len(worker.runs(TRAIN)) == trained


def test_a_window_that_is_not_there_is_refused(worker: Team) -> None:
    """A run may be asked for a window that the form does not know; one that does not exist fails
    with the sentence that says so."""
    ended = worker.end_of(worker.run(MONITOR, window="month_009"))
    assert ended["type"] == "FAILED"
    assert "wanted a known window (month_000 to month_000), got month_009" in ended["message"]


def test_dead_runs_are_found(worker: Team) -> None:
    """A run that is killed together with its worker, and one that its worker never starts, are said
    to have crashed; their places are free again."""
    install(worker, timedelta(seconds=10))
    assert len(worker.ask("/automations/filter", {})) == 2
    never = worker.run(TRAIN)
    with worker.loop().lock():  # so that it runs for as long as we like
        lost = worker.run(MONITOR)
        until(lambda: worker.state(lost)["type"] == "RUNNING", "the run's start")
        worker.ask(f"/flow_runs/{never}/set_state", {"state": {"type": "PENDING"}})
        until(lambda: heartbeats_of(worker, lost), "its first heartbeat")
        assert worker.kill(lambda command: "prefect server" not in command) >= 3
    assert worker.end_of(lost)["message"] == "no heartbeat any more: its process is gone"
    assert worker.end_of(never)["message"] == "it was not started in time"
    assert {worker.state(run)["type"] for run in (lost, never)} == {"CRASHED"}
    assert [worker.places_taken(name) for name in (MONITOR, TRAIN)] == [0, 0]


def install(team: Team, patience: timedelta) -> None:
    """Take the automations that were deployed, with less patience."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.deployment.dead_runs import dead_run_automations, install_automations

    with (
        temporary_settings(updates={PREFECT_API_URL: team.url}),
        get_client(sync_client=True) as client,
    ):
        install_automations(client, dead_run_automations(lost_after=patience, stuck_after=patience))


def heartbeats_of(team: Team, run: str) -> int:
    """How many heartbeats of a run the server has."""
    wanted = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
        }
    }
    return int(team.ask("/events/filter", wanted)["total"])


@pytest.mark.nightly
def test_heartbeats_at_prefects_own_pace(worker: Team) -> None:
    """With a heartbeat each 30 s, which prefect.yaml asks for, a run that takes long is left alone;
    once it is dead it is found."""
    install(worker, timedelta(seconds=45))
    worker.start_worker("closedloop", "--limit", "1")
    with worker.loop().lock():
        run = worker.run(MONITOR)
        until(lambda: heartbeats_of(worker, run) >= 3, "its third heartbeat")
        assert worker.state(run)["type"] == "RUNNING"
        worker.kill(lambda command: "prefect server" not in command)
    assert worker.end_of(run)["type"] == "CRASHED"
