"""One look does for all that were missed: what was due while no worker was there does not run one
after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.states import Cancelled

from flows.server.names import this_run

MISSED = "missed while nobody was there to run it; one look does for all"


def cancel_missed_runs() -> int:
    """Cancel the scheduled runs that are due beside the one that runs now and would do the same;
    returns how many.

    Prefect keeps what was missed and starts it all as soon as a worker is back. Runs that a person
    asked for, and runs with other parameters, are left alone. Does nothing in a run that was not
    scheduled.
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
        # Prefect lists 200 at a time; one that cannot be cancelled any more is not tried again.
        while missed := [
            one
            for one in client.read_flow_runs(deployment_filter=same, flow_run_filter=due)
            if one.auto_scheduled
            and one.run_count == 0
            and one.parameters == this.parameters
            and one.id not in settled
        ]:
            for one in missed:
                client.set_flow_run_state(one.id, Cancelled(message=MISSED))
                settled.add(one.id)
    return len(settled)
