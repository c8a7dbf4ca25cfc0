"""What Prefect's page offers when a person asks for a run: the windows that there are, newest
first, and the use case as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from closedloop.turn.open import open_loop
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import NoWindows

# A list for people: who wants a window of long ago asks for it over the API.
MOST_WINDOWS = 300
LIST_WINDOWS = "tell Prefect which windows there are"


def offer_choices(form: dict[str, Any], path: str, windows: Sequence[str]) -> dict[str, Any]:
    """The form of a deployment (its parameter_openapi_schema) with `windows`, oldest first, as the
    choices of `window`.

    The newest come first, after the empty choice, which means the newest that there is when the run
    starts. The use case is what the deployment says, and nothing else. Parameters that a flow does
    not have are not added.
    """
    fixed = {"enum": [path], "default": path, "readOnly": True}
    choices = {"enum": ["", *list(windows)[: -MOST_WINDOWS - 1 : -1]]}
    changes: dict[str, dict[str, Any]] = {"use_case": fixed, "window": choices}
    parameters = {
        name: {**about, **changes.get(name, {})}
        for name, about in form.get("properties", {}).items()
    }
    return {**form, "properties": parameters}


def refresh_forms(use_case: UseCase) -> int:
    """Bring the forms of every deployment of a use case up to date; returns how many had to change.

    Raises SourceError or StoreError when the windows cannot be listed, and what Prefect's client
    raises.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    from flows.server.names import of_use_case

    windows = list_windows(use_case)
    changed = 0
    with get_client(sync_client=True) as client:
        for one in client.read_deployments(deployment_filter=of_use_case(use_case.name)):
            form = one.parameter_openapi_schema or {}
            wanted = offer_choices(form, one.parameters.get("use_case", ""), windows)
            # Prefect makes the next scheduled runs anew with every change: none is made for
            # nothing.
            if wanted != form:
                client.update_deployment(one.id, DeploymentUpdate(parameter_openapi_schema=wanted))
                changed += 1
    return changed


def list_windows(use_case: UseCase) -> tuple[str, ...]:
    """The windows that a run may be asked for, oldest first: those of the source, and those of the
    service's own records."""
    try:
        return open_loop(use_case.path, with_records=True).source.windows()
    except NoWindows:
        return ()
