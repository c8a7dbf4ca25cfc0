"""What Prefect's page offers to whoever starts a run there: windows, decisions, the use case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate

from closedloop.shown_text import printable
from closedloop.turn.approval import waiting
from closedloop.turn.open import open_loop
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import NoWindows
from flows.prefect_client.lookup import of_use_case

# A list that a person scrolls; an older window can still be named over the API.
MOST_WINDOWS = 300
LIST_CHOICES = "list windows and decisions in Prefect's run forms"


def offer_choices(
    form: dict[str, Any], path: str, windows: Sequence[str], decisions: Sequence[str] = ()
) -> dict[str, Any]:
    """A deployment's `parameter_openapi_schema` with choices for `window` and `decision`.

    `windows` are oldest first. The form starts with an empty choice, the newest window when the run
    starts, then lists the newest first. `decisions` are those that wait for a person; an empty
    choice stands for none. `use_case` is fixed to `path`. A parameter that the form
    lacks is not added.
    """
    fixed = {"enum": [path], "default": path, "readOnly": True}
    choices = {"enum": ["", *list(windows)[: -MOST_WINDOWS - 1 : -1]]}
    asked = {"enum": list(decisions) or [""]}
    changes: dict[str, dict[str, Any]] = {
        "use_case": fixed,
        "window": choices,
        "decision": asked,
    }
    parameters = {
        name: {**schema, **changes.get(name, {})}
        for name, schema in form.get("properties", {}).items()
    }
    return {**form, "properties": parameters}


def refresh_forms(use_case: UseCase) -> int:
    """Update the run form of every deployment of a use case; returns how many changed.

    Raises SourceError or StoreError when the windows cannot be listed, and the errors of Prefect's
    client.
    """
    windows, decisions = list_windows(use_case), list_decisions(use_case)
    changed = 0
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments(deployment_filter=of_use_case(use_case.name)):
            form = deployment.parameter_openapi_schema or {}
            wanted = offer_choices(
                form, deployment.parameters.get("use_case", ""), windows, decisions
            )
            # Each update makes Prefect reschedule the next runs, so skip those that change nothing.
            if wanted != form:
                update = DeploymentUpdate(parameter_openapi_schema=wanted)
                client.update_deployment(deployment.id, update)
                changed += 1
    return changed


def list_windows(use_case: UseCase) -> tuple[str, ...]:
    """The windows of the source and of the service's own records, oldest first."""
    try:
        return open_loop(use_case.path, with_records=True, if_whole=True).source.windows()
    except NoWindows:
        return ()


def list_decisions(use_case: UseCase) -> tuple[str, ...]:
    """The decisions that wait for a person, oldest first, each with its id in front."""
    return tuple(
        f"{wait.id}: version {wait.decision.version} for {printable(wait.decision.window)}"
        for wait in waiting(open_loop(use_case.path))
    )
