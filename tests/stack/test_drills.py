"""Each part of a stack is killed and started again, under load and while the loop turns: what goes
on, what waits, nothing is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack.load import Told, asking
from tests.stack.running_stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.nightly, pytest.mark.timeout(1800)]
NAME = "streamflow"
AWAY_SECONDS = 8.0
# The order is that of the windows which the drills train for: none is trained for twice.
GOES_ON = ["mlflow", "s3", "prefect-server", "prefect-worker", "training-worker"]


@pytest.fixture(scope="module")
def stack(team_stack: Stack) -> Iterator[Stack]:
    """A stack with a first model in production and the windows of the drills."""
    team_stack.closedloop("generate", "--months", "9")
    team_stack.complete(f"monitor/{NAME}", window="month_000")
    team_stack.wait_for_version(1)
    return team_stack


@pytest.fixture(scope="module")
def row(stack: Stack) -> dict[str, Any]:
    """A row that the service itself gives as an example."""
    body = stack.ask("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    found: dict[str, Any] = body["content"]["application/json"]["examples"]["one"]["value"]
    return found


def kill_and_start(stack: Stack, service: str) -> tuple[float, float]:
    """SIGKILL, a while without it, and a start, until it is healthy; when it was gone, and when it
    was asked to come back."""
    stack.compose("kill", "--signal", "KILL", service)
    gone = time.monotonic()
    time.sleep(AWAY_SECONDS)  # how long the part is away, not a wait for something
    back = time.monotonic()
    stack.compose("up", "--detach", "--no-deps", "--wait", service)
    return gone, back


def wait_until_running(stack: Stack, run: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if stack.run(run)["state_type"] == "RUNNING":
            return
        time.sleep(0.2)
    raise AssertionError(f"run {run} did not start: {stack.run(run)['state']}")


def journal(stack: Stack) -> list[str]:
    return stack.sql(
        "select id, key, action, coalesce(version, 0) from decisions order by id"
    ).splitlines()


def assert_nothing_lost(stack: Stack, told: Told, before: list[str]) -> None:
    """Every prediction that a client was given is on record, and every decision that was there
    still is."""
    recorded = set(stack.sql("select request from answers").splitlines())
    lost = [
        answer
        for answer in told.ids
        if answer.rpartition("-")[0] not in recorded and answer not in recorded
    ]
    assert told.ids
    assert not lost, f"{len(lost)} of {len(told.ids)} answers are not on record: {lost[:3]}"
    assert journal(stack)[: len(before)] == before


def finish_training(stack: Stack, run: str, window: str) -> None:
    """The training ends, or the next one carries on what it began."""
    ended = stack.wait_for_run(run, seconds=600)
    if ended["state_type"] != "COMPLETED":
        stack.complete(f"train-and-compare/{NAME}", window=window)
    open_ones = stack.sql(
        "select count(*) from decisions d left join outcomes o on o.decision = d.id "
        f"where o.decision is null and d.window = '{window}' and d.action in ('promote', 'retrain')"
    )
    assert open_ones == "0"


@pytest.mark.parametrize(("number", "service"), list(enumerate(GOES_ON, start=1)))
def test_answers_go_on_while_a_part_is_away(
    stack: Stack, row: dict[str, Any], number: int, service: str
) -> None:
    """Clients are answered all the time; the training that was under way ends, by itself or by the
    next run; nothing is lost, and the doctor finds all in agreement."""
    before, window = journal(stack), f"month_{number:03}"
    with asking(stack, row) as told:
        run = stack.start_run(f"train-and-compare/{NAME}", window=window)
        wait_until_running(stack, run)
        kill_and_start(stack, service)
        finish_training(stack, run, window)
    assert set(told.statuses()) == {200}
    assert_nothing_lost(stack, told, before)
    stack.closedloop("doctor")


def test_without_postgresql_answers_are_refused_and_come_back(
    stack: Stack, row: dict[str, Any]
) -> None:
    """No record, no answer: while PostgreSQL is away each is a 503 and none is lost; it recovers by
    itself, and so does the loop."""
    before, window = journal(stack), f"month_{len(GOES_ON) + 1:03}"
    with asking(stack, row) as told:
        run = stack.start_run(f"train-and-compare/{NAME}", window=window)
        wait_until_running(stack, run)
        gone, back = kill_and_start(stack, "postgres")
        told.wait_for(200, since=back, seconds=30)
        finish_training(stack, run, window)
    assert set(told.statuses(gone + 1.0, back)) == {503}
    assert_nothing_lost(stack, told, before)
    stack.closedloop("doctor")


def test_the_api_itself_comes_back_with_all_it_said(stack: Stack, row: dict[str, Any]) -> None:
    """Killed and started, the API answers with the version that is in production; what it had told
    is on record."""
    before = journal(stack)
    with asking(stack, row) as told:
        told.wait_for(200, since=0.0, seconds=30)
        _, back = kill_and_start(stack, "api")
        told.wait_for(200, since=back, seconds=30)
    assert_nothing_lost(stack, told, before)
    stack.closedloop("doctor")


def test_down_and_up_keep_everything(stack: Stack) -> None:
    """Versions, aliases, decisions, records, deployments with their schedules, and reports are
    there after `down` and `up`."""
    before = snapshot(stack)
    stack.compose("down")
    stack.compose("up", "--detach", "--wait")
    after = snapshot(stack)
    # The API notes that it serves again.
    assert after.pop("history")[: len(before["history"])] == before.pop("history")
    assert after == before
    stack.closedloop("doctor")


def snapshot(stack: Stack) -> dict[str, Any]:
    """What a stack keeps, in a form that can be compared."""
    status = json.loads(stack.closedloop("status", "--json"))
    deployments = stack.ask_prefect("/deployments/filter", {}).json()
    return {
        "status": status,
        "history": json.loads(stack.closedloop("history", "--json")),
        "records": stack.sql("select count(*), sum(rows) from answers"),
        "labels": stack.sql("select count(*) from answer_labels"),
        "objects": sorted(
            stack.compose(
                "run", "--rm", "--no-TTY", "s3-init", "python", "/app/jobs/bucket.py", "list"
            ).stdout.split()
        ),
        "deployments": sorted(
            (
                deployment["id"],
                deployment["name"],
                *((when["schedule"]["cron"], when["active"]) for when in deployment["schedules"]),
            )
            for deployment in deployments
        ),
    }
