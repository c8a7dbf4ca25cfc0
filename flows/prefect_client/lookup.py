"""Which deployments on a Prefect server are ours, and which flow run is this one."""

from __future__ import annotations

from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from flows.prefect_client.names import TAG

OURS = DeploymentFilterTags(all_=[TAG])


def all_ours() -> DeploymentFilter:
    """A filter for the deployments of every use case."""
    return DeploymentFilter(tags=OURS)


def of_use_case(use_case: str) -> DeploymentFilter:
    """A filter for the deployments of one use case."""
    return DeploymentFilter(name=DeploymentFilterName(any_=[use_case]), tags=OURS)


def this_run() -> FlowRun | None:
    """The flow run that the caller is part of, as it was when it began; None outside of a run."""
    context = FlowRunContext.get()
    return context.flow_run if context else None


def name_person(by: str) -> str:
    """Whoever started a run, as the journal keeps it: Prefect itself knows no people."""
    return f"{by} (in Prefect)" if by.strip() else "somebody in Prefect"
