"""Deployments on a real Prefect server with real workers: what is deployed, what runs, what dies.

The tests share one server and follow its life in the order of the file; the last ones kill workers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Kind
from flows.prefect_client.standstill import find_standstill
from tests.flows.conftest import add_months
from tests.flows.team import ENDS, Team
from tests.flows.team_at_work import deployed, let_train, take_turn, team, worker  # noqa: F401
from tests.postgres import postgres  # noqa: F401  # a fixture, as are those of team_at_work
from tests.waiting import until

pytestmark = pytest.mark.slow

MONITOR, TRAIN = "monitor/streamflow", "train-and-compare/streamflow"


def form_of(team: Team, name: str) -> dict[str, Any]:
    """A deployment's run form, by parameter."""
    return dict(team.deployment(name)["parameter_openapi_schema"]["properties"])


def everything(team: Team) -> dict[str, Any]:
    """All that `flows.deployment.deploy` creates, without its times of change."""

    def lasting(content: Any) -> Any:
        if isinstance(content, dict):
            return {
                name: lasting(value)
                for name, value in content.items()
                if name not in ("updated", "last_polled", "status")
            }
        return [lasting(value) for value in content] if isinstance(content, list) else content

    kinds = ("deployments", "work_pools", "automations", "v2/concurrency_limits")
    return {
        kind: sorted(map(lasting, team.ask(f"/{kind}/filter", {})), key=lambda row: str(row["id"]))
        for kind in kinds
    }


def standstill_of(team: Team) -> tuple[str, ...] | None:
    """What `closedloop status` says of the schedule."""
    return find_standstill("streamflow", team.folder / "home", {"PREFECT_API_URL": team.url})


@pytest.mark.nightly
def test_deploying_again_changes_nothing(team: Team) -> None:
    """Deploying twice duplicates nothing, keeps what a person has paused, and reports a use case
    that is no longer listed without touching it. What is paused is told to whoever asks."""
    assert standstill_of(team) is None
    team.deploy(team.path)
    assert standstill_of(team) == ()
    found = everything(team)
    assert [len(found[kind]) for kind in ("deployments", "work_pools", "automations")] == [8, 2, 2]
    monitor, train = team.deployment(MONITOR), team.deployment(TRAIN)
    assert [
        (schedule["schedule"]["cron"], schedule["schedule"]["timezone"])
        for schedule in monitor["schedules"]
    ] == [("30 5 * * *", "Europe/Berlin")]
    assert monitor["parameters"] == {"use_case": str(team.path), "source": "windows"}
    assert train["schedules"] == []
    assert [
        (deployment["work_pool_name"], deployment["concurrency_options"]["collision_strategy"])
        for deployment in (monitor, train)
    ] == [("closedloop", "CANCEL_NEW"), ("closedloop-training", "ENQUEUE")]
    limits = [deployment["global_concurrency_limit"]["limit"] for deployment in (monitor, train)]
    assert limits == [1, 1]

    schedule = f"/deployments/{monitor['id']}/schedules/{monitor['schedules'][0]['id']}"
    team.ask(
        "/deployments/",
        {"name": "of-last-year", "flow_id": monitor["flow_id"], "tags": ["closedloop"]},
    )
    team.ask(schedule, {"active": False}, "PATCH")
    team.ask(f"/deployments/{train['id']}/pause_deployment", {})
    team.ask("/work_pools/closedloop", {"is_paused": True}, "PATCH")
    assert standstill_of(team) == (
        f"a schedule of {MONITOR} is inactive",
        f"{TRAIN} is paused",
        "work pool closedloop is paused",
    )
    found = everything(team)
    said = team.deploy(team.path)
    assert everything(team) == found
    by_hand = [
        f"{flow}/streamflow: in closedloop, on request"
        for flow in ("probation", "prune", "rollback")
    ]
    assert said[:8] == [
        "alerts/streamflow: in closedloop, 0 0 1 1 * Europe/Berlin",
        "answer/streamflow: in closedloop, on request",
        "housekeeping/streamflow: in closedloop, on request",
        f"{MONITOR}: in closedloop, 30 5 * * * Europe/Berlin (paused)",
        *by_hand,
        f"{TRAIN}: in closedloop-training, on request (paused)",
    ]
    assert [line.split(",")[0] for line in said[8:]] == [
        "monitor/of-last-year: not in CLOSEDLOOP_USE_CASES"
    ]
    team.ask("/work_pools/closedloop", {"is_paused": False}, "PATCH")
    team.ask(schedule, {"active": True}, "PATCH")
    team.ask(f"/deployments/{train['id']}/resume_deployment", {})


@pytest.mark.nightly
def test_the_run_form_offers_what_can_be_run(deployed: Team) -> None:
    """Each parameter has a type and a description; windows (none yet) and sources are choices, and
    the use case is fixed."""
    asking = form_of(deployed, "answer/streamflow")
    assert asking["decision"]["enum"] == [""]
    assert asking["answer"]["enum"] == ["approve", "reject"]
    for name in (MONITOR, TRAIN):
        form = form_of(deployed, name)
        assert all(
            field["title"] and field["description"] and field["type"] for field in form.values()
        )
        assert (form["window"]["enum"], form["window"]["default"]) == ([""], "")
        assert (form["source"]["enum"], form["source"]["default"]) == (
            ["windows", "records"],
            "windows",
        )
        assert (form["use_case"]["enum"], form["use_case"]["readOnly"]) == (
            [str(deployed.path)],
            True,
        )


@pytest.mark.nightly
def test_a_retraining_is_a_run_of_its_own(worker: Team) -> None:
    """A run started over REST decides to retrain and starts a training as its child in the other
    pool. The next turn starts no second training while that one waits, but does once it is
    cancelled; the second one promotes. The run form offers the new window."""
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
    (second,) = [run for run in worker.runs(TRAIN) if run["id"] != first["id"]]

    let_train(worker, True)
    assert worker.end_of(second["id"])["type"] == "COMPLETED", (
        worker.folder / "closedloop-training.log"
    ).read_text()[-3000:]
    let_train(worker, False)
    assert worker.loop().registry.production() == 1
    kinds = [
        (entry.decision.kind, entry.outcome)
        for entry in worker.loop().journal.history("streamflow")
    ]
    assert kinds == [(Kind.RETRAINING, "done"), (Kind.PROMOTION, "done")]


@pytest.mark.nightly
def test_what_was_missed_runs_once(worker: Team) -> None:
    """Ten days without a worker leave ten late runs: one of them runs, the others are cancelled.
    The data is the same, so nothing is trained again."""
    from flows.prefect_client.missed_runs import MISSED

    now, trained = datetime.now(UTC), len(worker.runs(TRAIN))
    dates = {
        "start_time": (now - timedelta(days=10)).isoformat(),
        "end_time": now.isoformat(),
        "min_runs": 10,
        "max_runs": 10,
    }

    def missed() -> list[dict[str, Any]]:
        return [run for run in worker.runs(MONITOR) if run["auto_scheduled"]]

    worker.ask("/work_pools/closedloop", {"is_paused": True}, "PATCH")
    worker.ask(f"/deployments/{worker.deployment(MONITOR)['id']}/schedule", dates)
    until(lambda: [run["state_name"] for run in missed()] == ["Late"] * 10, "ten late runs")
    # Without our own cancelling, such a pool would run all ten in turn.
    worker.ask("/work_pools/closedloop", {"is_paused": False, "concurrency_limit": 1}, "PATCH")
    until(lambda: all(run["state_type"] in ENDS for run in missed()), "their end")
    first, *others = missed()
    assert first["state_type"] == "COMPLETED"
    assert {(run["state_type"], run["state"]["message"]) for run in others} == {
        ("CANCELLED", MISSED)
    }
    assert len(worker.runs(TRAIN)) == trained


@pytest.mark.nightly
def test_a_window_that_is_not_there_is_refused(worker: Team) -> None:
    """A run may name a window that the form does not list; one that does not exist fails, and the
    message says so."""
    ended = worker.end_of(worker.run(MONITOR, window="month_009"))
    assert ended["type"] == "FAILED"
    assert "wanted a known window (month_000 to month_000), got month_009" in ended["message"]


@pytest.mark.nightly
def test_dead_runs_are_found(worker: Team) -> None:
    """A run killed together with its worker, and a run that its worker never starts, are marked as
    crashed, and their concurrency slots are free again."""
    install(worker, timedelta(seconds=10))
    assert len(worker.ask("/automations/filter", {})) == 2
    never = worker.run(TRAIN)
    with worker.loop().lock("test"):  # so that it runs for as long as we like
        lost = worker.run(MONITOR)
        until(lambda: worker.state(lost)["type"] == "RUNNING", "the run's start")
        worker.ask(f"/flow_runs/{never}/set_state", {"state": {"type": "PENDING"}})
        until(lambda: heartbeats_of(worker, lost), "its first heartbeat")
        assert worker.kill(lambda command: "prefect server" not in command) >= 3
    assert worker.end_of(lost)["message"] == "no heartbeat: the process is gone"
    assert worker.end_of(never)["message"] == "it did not start in time"
    assert {worker.state(run)["type"] for run in (lost, never)} == {"CRASHED"}
    assert [worker.slots_taken(name) for name in (MONITOR, TRAIN)] == [0, 0]


def install(team: Team, patience: timedelta) -> None:
    """Install the automations with a shorter patience."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.deployment.dead_runs import dead_run_automations, install_automations

    with (
        temporary_settings(updates={PREFECT_API_URL: team.url}),
        get_client(sync_client=True) as client,
    ):
        install_automations(client, dead_run_automations(lost_after=patience, stuck_after=patience))


def heartbeats_of(team: Team, run: str) -> int:
    """How many heartbeats of a run the server has received."""
    wanted = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
        }
    }
    return int(team.ask("/events/filter", wanted)["total"])


@pytest.mark.nightly
def test_heartbeats_at_prefects_own_pace(worker: Team) -> None:
    """With the 30 s heartbeats of prefect.yaml a long run survives, and a dead one is found."""
    install(worker, timedelta(seconds=45))
    worker.start_worker("closedloop", "--limit", "1")
    with worker.loop().lock("test"):
        run = worker.run(MONITOR)
        until(lambda: heartbeats_of(worker, run) >= 3, "its third heartbeat")
        assert worker.state(run)["type"] == "RUNNING"
        worker.kill(lambda command: "prefect server" not in command)
    assert worker.end_of(run)["type"] == "CRASHED"
