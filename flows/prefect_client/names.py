"""Names of deployments on a Prefect server; importing this does not load Prefect."""

from __future__ import annotations

TAG = "closedloop"
MONITOR, TRAIN = "monitor", "train-and-compare"
ALERTS, HOUSEKEEPING = "alerts", "housekeeping"
# Prefect recognises a schedule by its slug, which keeps a paused one paused. As in prefect.yaml.
SLUG = "use-case"


def name_deployment(flow: str, use_case: str) -> str:
    """A flow's deployment for a use case, as Prefect's commands and pages name it."""
    return f"{flow}/{use_case}"
