"""`python -m flows.deployment.serve [LOOP_TOML CRON]...`: a process that schedules and runs flows.

It runs until it is stopped. The deployments are named after their use case, as on a team's server
(prefect.yaml, `flows.deployment.deploy`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.runner import Runner

from closedloop.errors import ClosedLoopError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.several import load_use_cases
from flows.best_effort import best_effort
from flows.deployment.dead_runs import crash_orphaned_runs
from flows.deployment.scheduled_flows import plan_deployments
from flows.deployment.unwanted_schedules import drop_unwanted_schedules
from flows.prefect_client.lookup import of_use_case
from flows.prefect_client.window_choices import LIST_CHOICES, refresh_forms


def serve_deployments(planned: Sequence[tuple[str, str]]) -> None:
    """Register the deployments of use cases, each a path and a schedule; run what the server asks.

    It does not return. Only one process serves a use case: its runs that are under way at the start
    count as dead. Raises ClosedLoopError when workers run one of them.
    """
    use_cases = load_use_cases(path for path, _ in planned)
    for use_case in use_cases:
        refuse_if_workers_run_it(use_case)
    # A schedule that paused with its process would have to be resumed by hand.
    runner = Runner(pause_on_shutdown=False)
    for use_case, (_, cron) in zip(use_cases, planned, strict=True):
        crash_orphaned_runs(use_case.name)
        for deployment in plan_deployments(use_case, cron):
            runner.add_deployment(deployment)
        with get_client(sync_client=True) as client:
            drop_unwanted_schedules(client, use_case)
        with best_effort(LIST_CHOICES):
            refresh_forms(use_case)
    with suppress(KeyboardInterrupt, TerminationSignal):
        asyncio.run(runner.start())


def refuse_if_workers_run_it(use_case: UseCase) -> None:
    """Raise ClosedLoopError when a work pool has the use case: serving would replace it."""
    with get_client(sync_client=True) as client:
        found = client.read_deployments(deployment_filter=of_use_case(use_case.name))
        address = str(client.api_url)
    pools = sorted({deployment.work_pool_name for deployment in found if deployment.work_pool_name})
    if pools:
        raise ClosedLoopError(
            where=f"Prefect at {address}",
            wanted=f"no work pool that runs {use_case.name}",
            got=f"deployments in {', '.join(pools)}",
            then="unset PREFECT_API_URL to start a local server, or delete those deployments",
        )


if __name__ == "__main__":
    try:
        serve_deployments(list(zip(sys.argv[1::2], sys.argv[2::2], strict=True)))
    except ClosedLoopError as error:
        sys.exit(str(error))
