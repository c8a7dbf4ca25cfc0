"""Schedules that loop.toml does not ask for: those of alerts without channels, and of housekeeping
without a cron line. Prefect keeps the schedule of an earlier deployment."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient

from closedloop.use_case.contract import UseCase
from flows.prefect_client.lookup import of_use_case
from flows.prefect_client.names import ALERTS, HOUSEKEEPING, SLUG

# What prefect.yaml, which has a line for every schedule, gets in the place of none.
_SOME_CRON = "0 0 1 1 *"


def wanted_crons(use_case: UseCase) -> dict[str, str]:
    """The cron line of each flow that may go without one; empty when it does."""
    return {
        ALERTS: use_case.alerts.cron if use_case.alerts.channels else "",
        HOUSEKEEPING: use_case.housekeeping.cron,
    }


def fill_crons(use_case: UseCase) -> dict[str, str]:
    """The same for prefect.yaml; `drop_unwanted_schedules` takes away what is not wanted."""
    return {flow: cron or _SOME_CRON for flow, cron in wanted_crons(use_case).items()}


def drop_unwanted_schedules(client: SyncPrefectClient, use_case: UseCase) -> None:
    """Delete the schedules of ours that loop.toml does not ask for; others stay."""
    ours = of_use_case(use_case.name)
    flows = {flow.id: flow.name for flow in client.read_flows(deployment_filter=ours)}
    unwanted = {flow for flow, cron in wanted_crons(use_case).items() if not cron}
    for deployment in client.read_deployments(deployment_filter=ours):
        if flows.get(deployment.flow_id) not in unwanted:
            continue
        for schedule in deployment.schedules:
            if schedule.slug == SLUG:
                client.delete_deployment_schedule(deployment.id, schedule.id)
