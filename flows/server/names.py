"""How deployments and runs are named on a Prefect server, and which run this is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.schemas.filters import DeploymentFilter
    from prefect.client.schemas.objects import FlowRun

TAG = "closedloop"
MONITOR, TRAIN = "monitor", "train-and-compare"
# Prefect knows a schedule again by its slug, and leaves one paused that a person has paused. As in
# prefect.yaml.
SLUG = "use-case"


def name_deployment(flow: str, use_case: str) -> str:
    """A flow's deployment for a use case, as `prefect deployment run` and Prefect's addresses call
    it."""
    return f"{flow}/{use_case}"


def of_use_case(use_case: str) -> DeploymentFilter:
    """What finds the deployments of a use case, and no others, on a server."""
    from prefect.client.schemas import filters

    return filters.DeploymentFilter(
        name=filters.DeploymentFilterName(any_=[use_case]),
        tags=filters.DeploymentFilterTags(all_=[TAG]),
    )


def this_run() -> FlowRun | None:
    """The flow run that the caller is part of, as Prefect's client read it when it began; None
    outside of one."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return context.flow_run if context else None
