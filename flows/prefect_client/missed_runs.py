"""Scheduled runs that were missed while no worker was up: one run does for all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.states import Cancelled

from flows.prefect_client.lookup import this_run

MISSED = "missed while no worker was running; one run does for all"


def cancel_missed_runs() -> int:
    """Cancel the other due runs of this run's schedule; returns how many.

    Prefect keeps missed runs and starts them all as soon as a worker is back. Runs that a person
    started and runs with other parameters stay. Does nothing in a run that was not scheduled.
    """
    this = this_run()
    if this is None or this.deployment_id is None or not this.auto_scheduled:
        return 0
    now = datetime.now(UTC)
    due = filters.FlowRunFilter.model_validate(
        {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": now}}
    )
    same = filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=[this.deployment_id]))
    settled: set[UUID] = set()
    with get_client(sync_client=True) as client:
        # Prefect lists 200 at a time; a run that could not be cancelled is not tried again.
        while missed := [
            run
            for run in client.read_flow_runs(deployment_filter=same, flow_run_filter=due)
            if run.auto_scheduled
            and run.run_count == 0
            and run.parameters == this.parameters
            and run.id not in settled
        ]:
            for run in missed:
                client.set_flow_run_state(run.id, Cancelled(message=MISSED))
                settled.add(run.id)
    return len(settled)
