"""What runs on the schedule of a use case, and what runs only when someone asks for it.

prefect.yaml says the same for a team's server, where workers run the flows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from closedloop.use_case.contract import UseCase
from flows.alert_flow import alert_flow
from flows.answer_flow import answer_flow
from flows.deployment.unwanted_schedules import wanted_crons
from flows.housekeeping_flow import housekeeping_flow
from flows.monitor_flow import monitor_flow
from flows.prefect_client.names import ALERTS, HOUSEKEEPING, SLUG, TAG
from flows.probation_flow import probation_flow
from flows.prune_flow import prune_flow
from flows.rollback_flow import rollback_flow
from flows.train_and_compare_flow import train_and_compare_flow

_RUNS_WHEN_ASKED = (answer_flow, rollback_flow, probation_flow, prune_flow)


def plan_deployments(use_case: UseCase, cron: str) -> list[RunnerDeployment]:
    """`monitor` on the schedule; training, answers, rollback, probation and pruning on request.

    `alerts` and `housekeeping` are on schedules of their own, if loop.toml asks for them.

    A second monitor run while one is running is cancelled, so that late runs do not pile up and all
    start at once. A second training waits. The others need no limit: the lock of the loop lets only
    one run change anything.
    """
    return [
        _deployment(
            monitor_flow,
            use_case,
            {"source": use_case.schedule.source},
            schedule=Cron(cron, timezone=use_case.schedule.timezone, slug=SLUG),
            concurrency_limit=_one_run(ConcurrencyLimitStrategy.CANCEL_NEW),
        ),
        _deployment(
            train_and_compare_flow,
            use_case,
            concurrency_limit=_one_run(ConcurrencyLimitStrategy.ENQUEUE),
        ),
        *(_deployment(flow, use_case) for flow in _RUNS_WHEN_ASKED),
        _deployment_on(alert_flow, ALERTS, use_case),
        _deployment_on(housekeeping_flow, HOUSEKEEPING, use_case),
    ]


def _deployment_on(flow: Flow[..., Any], name: str, use_case: UseCase) -> RunnerDeployment:
    """A deployment with a schedule of its own, if there is one."""
    cron, zone = wanted_crons(use_case)[name], use_case.schedule.timezone
    return _deployment(
        flow,
        use_case,
        schedule=Cron(cron, timezone=zone, slug=SLUG) if cron else None,
        concurrency_limit=_one_run(ConcurrencyLimitStrategy.CANCEL_NEW),
    )


def _one_run(next_run: ConcurrencyLimitStrategy) -> ConcurrencyLimitConfig:
    return ConcurrencyLimitConfig(limit=1, collision_strategy=next_run)


def _deployment(
    flow: Flow[..., Any],
    use_case: UseCase,
    parameters: Mapping[str, str] = MappingProxyType({}),
    **choices: Any,
) -> RunnerDeployment:
    """A deployment with the name of its use case."""
    deployment: RunnerDeployment = flow.to_deployment(  # type: ignore[assignment]
        name=use_case.name,
        parameters={"use_case": str(use_case.path), **parameters},
        tags=[TAG, use_case.name],
        entrypoint_type=EntrypointType.MODULE_PATH,  # importable wherever the run starts
        enforce_parameter_schema=False,  # a window may be newer than the form
        **choices,
    )
    return deployment
