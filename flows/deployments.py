"""`python -m flows.deployments LOOP_TOML CRON`: offers the flows to a Prefect server, one on a schedule, until it is stopped."""

from __future__ import annotations

import sys
from uuid import UUID

TAG, SCHEDULED, ON_DEMAND = "closedloop", "scheduled", "on-demand"


def serve_deployments(use_case: str, cron: str) -> None:
    """Register `monitor/scheduled`, and `on-demand` what people start, and run what the server asks for; does not return.

    A second monitor while one runs is cancelled: late runs must not pile up and all fire. A retraining waits its turn; the others need
    no limit, for the loop's own lock lets one at a time move anything.
    One process serves these deployments: runs of theirs that are under way when it starts are taken for dead.
    """
    from prefect import serve
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    from flows.monitor_flow import monitor_flow
    from flows.probation_flow import probation_flow
    from flows.prune_flow import prune_flow
    from flows.rollback_flow import rollback_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    by_hand = [
        one.to_deployment(name=ON_DEMAND, parameters={"use_case": use_case}, tags=[TAG], entrypoint_type=EntrypointType.MODULE_PATH)
        for one in (rollback_flow, probation_flow, prune_flow)
    ]
    give_up_dead_runs()
    serve(
        monitor_flow.to_deployment(  # type: ignore[arg-type]  # in a plain function it is no coroutine
            name=SCHEDULED,
            cron=cron,
            parameters={"use_case": use_case},
            tags=[TAG],
            entrypoint_type=EntrypointType.MODULE_PATH,  # found wherever the run is started
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        ),
        train_and_compare_flow.to_deployment(  # type: ignore[arg-type]
            name=ON_DEMAND,
            parameters={"use_case": use_case},
            tags=[TAG],
            entrypoint_type=EntrypointType.MODULE_PATH,
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        ),
        *by_hand,  # type: ignore[arg-type]
        pause_on_shutdown=False,  # a schedule that stops with its process would have to be switched on again by hand
    )


def give_up_dead_runs() -> int:
    """Mark runs of these deployments that nobody carries on as crashed, with the runs they started; returns how many.

    A run that ended with its machine stays `Running` for ever and keeps its place under the concurrency limit: every later run would
    wait or be cancelled, and the loop would stand still without a word.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    under_way = filters.FlowRunFilterState(
        type=filters.FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    )
    ours = filters.DeploymentFilter(
        name=filters.DeploymentFilterName(any_=[SCHEDULED, ON_DEMAND]), tags=filters.DeploymentFilterTags(all_=[TAG])
    )
    with get_client(sync_client=True) as client:
        dead: list[UUID] = [
            run.id for run in client.read_flow_runs(deployment_filter=ours, flow_run_filter=filters.FlowRunFilter(state=under_way))
        ]
        if dead:
            started = filters.FlowRunFilter(state=under_way, parent_flow_run_id=filters.FlowRunFilterParentFlowRunId(any_=dead))
            dead += [run.id for run in client.read_flow_runs(flow_run_filter=started)]
        for number in dead:
            client.set_flow_run_state(number, Crashed(message="its process ended before it did"), force=True)
    return len(dead)


if __name__ == "__main__":
    serve_deployments(sys.argv[1], sys.argv[2])
