"""`python -m flows.deployment.serve LOOP_TOML CRON`: offers the flows to a Prefect server, one on a
schedule, until it is stopped.

A deployment has the name of its use case, here and on a team's server (prefect.yaml,
`flows.deployment.deploy`).
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any
from uuid import UUID

from closedloop.errors import ClosedLoopError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from flows.server.names import SLUG, TAG, of_use_case


def serve_deployments(path: str, cron: str) -> None:
    """Register `monitor/NAME`, `train-and-compare/NAME` and what people start, and run what the
    server asks for; does not return.

    A second monitor while one runs is cancelled: late runs must not pile up and all fire. A
    retraining waits its turn; the others need no limit, for the loop's own lock lets one at a time
    move anything. One process serves these deployments: runs of theirs that are under way when it
    starts are taken for dead. Raises ClosedLoopError where workers serve them.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.exceptions import TerminationSignal
    from prefect.runner import Runner
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from flows.best_effort import best_effort
    from flows.monitor_flow import monitor_flow
    from flows.probation_flow import probation_flow
    from flows.prune_flow import prune_flow
    from flows.rollback_flow import rollback_flow
    from flows.server.forms import LIST_WINDOWS, refresh_forms
    from flows.train_and_compare_flow import train_and_compare_flow

    use_case = load_use_case(path)
    refuse_those_of_workers(use_case)
    give_up_dead_runs(use_case.name)
    common: dict[str, Any] = {
        "name": use_case.name,
        "parameters": {"use_case": str(use_case.path)},
        "tags": [TAG, use_case.name],
        "entrypoint_type": EntrypointType.MODULE_PATH,  # found wherever the run is started
        "enforce_parameter_schema": False,  # a window may be newer than the form
    }
    runner = Runner(
        pause_on_shutdown=False
    )  # a schedule that stops with its process would have to be switched on again by hand
    runner.add_deployment(
        monitor_flow.to_deployment(  # type: ignore[arg-type]  # in a plain function it is no coroutine
            **common,
            schedule=Cron(cron, timezone=use_case.schedule.timezone, slug=SLUG),
            concurrency_limit=ConcurrencyLimitConfig(
                limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
            ),
        )
    )
    runner.add_deployment(
        train_and_compare_flow.to_deployment(  # type: ignore[arg-type]
            **common,
            concurrency_limit=ConcurrencyLimitConfig(
                limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
            ),
        )
    )
    for by_hand in (rollback_flow, probation_flow, prune_flow):
        runner.add_deployment(by_hand.to_deployment(**common))  # type: ignore[arg-type]
    with best_effort(LIST_WINDOWS):
        refresh_forms(use_case)
    with suppress(KeyboardInterrupt, TerminationSignal):
        asyncio.run(runner.start())


def refuse_those_of_workers(use_case: UseCase) -> None:
    """Raise ClosedLoopError when the server has this use case in a work pool: serving it here would
    take it away from the workers."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_deployments(deployment_filter=of_use_case(use_case.name))
        address = str(client.api_url)
    pools = sorted({one.work_pool_name for one in found if one.work_pool_name})
    if pools:
        raise ClosedLoopError(
            where=f"Prefect at {address}",
            wanted=f"no other who runs {use_case.name}",
            got=f"deployments of it in {', '.join(pools)}",
            then="unset PREFECT_API_URL to have a server of your own, or delete them there first",
        )


def give_up_dead_runs(use_case: str) -> int:
    """Mark runs of these deployments that nobody carries on as crashed, with the runs they started;
    returns how many.

    A run that ended with its machine stays `Running` for ever and keeps its place under the
    concurrency limit: every later run would wait or be cancelled, and the loop would stand still
    without a word.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    under_way = filters.FlowRunFilterState(
        type=filters.FlowRunFilterStateType(
            any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        )
    )
    with get_client(sync_client=True) as client:
        dead: list[UUID] = [
            run.id
            for run in client.read_flow_runs(
                deployment_filter=of_use_case(use_case),
                flow_run_filter=filters.FlowRunFilter(state=under_way),
            )
        ]
        if dead:
            started = filters.FlowRunFilter(
                state=under_way, parent_flow_run_id=filters.FlowRunFilterParentFlowRunId(any_=dead)
            )
            dead += [run.id for run in client.read_flow_runs(flow_run_filter=started)]
        for number in dead:
            client.set_flow_run_state(
                number, Crashed(message="its process ended before it did"), force=True
            )
    return len(dead)


if __name__ == "__main__":
    try:
        serve_deployments(sys.argv[1], sys.argv[2])
    except ClosedLoopError as error:
        sys.exit(str(error))
