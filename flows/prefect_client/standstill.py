"""Why the schedule of a use case stands still, asked of its Prefect server without loading Prefect.

Whoever may change a deployment can stop the loop, a person or an automation, and a loop that stands
still looks like one with nothing to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from closedloop.operations.access.ask import ask
from closedloop.operations.access.servers_file import find_running
from flows.prefect_client.names import MONITOR, TAG, name_deployment

_SECONDS, _PAUSE_SECONDS = 3.0, 0.2


def find_standstill(
    use_case: str, home: Path, environment: Mapping[str, str]
) -> tuple[str, ...] | None:
    """Sentences about what is paused or cannot be asked; None when no server has a schedule.

    The server is the one that PREFECT_API_URL names, or that of a `closedloop up` on this home.
    """
    elsewhere = urlsplit(environment.get("PREFECT_API_URL", "").rstrip("/"))
    if elsewhere.netloc:
        if environment.get("PREFECT_API_KEY"):  # of Prefect Cloud, which answers otherwise
            return None
        user, _, place = elsewhere.netloc.rpartition("@")
        api = elsewhere._replace(netloc=place).geturl()
        login = environment.get("PREFECT_API_AUTH_STRING") or unquote(user)
    elif server := find_running(home).get("Prefect"):
        api, login = f"{server.address}/api", server.login
    else:
        return None

    through_proxy = bool(elsewhere.netloc)

    def read(path: str, content: Any = None) -> Any:
        deadline = time.monotonic() + _SECONDS
        while True:
            left = max(0.1, deadline - time.monotonic())
            try:
                return json.loads(
                    ask(f"{api}/{path}", login, content, timeout=left, through_proxy=through_proxy)
                )
            except HTTPError as error:
                # Busy: on SQLite one writes at a time. Prefect's own clients ask again, too.
                if error.code != 503 or time.monotonic() + _PAUSE_SECONDS > deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)

    try:
        paused = _list_paused(use_case, read)
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        return (f"Prefect at {api} does not say whether the schedule runs: {error}",)
    if paused is None and elsewhere.netloc:  # it need not have a schedule for this use case
        return None
    return ("no deployment is left in Prefect",) if paused is None else tuple(paused)


def _list_paused(use_case: str, read: Callable[..., Any]) -> list[str] | None:
    """A sentence for whatever is paused; None when nothing of the use case is deployed."""
    ours = {"deployments": {"name": {"any_": [use_case]}, "tags": {"all_": [TAG]}}}
    flows = {flow["id"]: flow["name"] for flow in read("flows/filter", ours)}
    found = {flows[made["flow_id"]]: made for made in read("deployments/filter", ours)}
    monitor = name_deployment(MONITOR, use_case)
    if not found:
        return None
    if MONITOR not in found:
        return [f"{monitor} is not deployed"]
    said = []
    for flow, deployment in sorted(found.items()):
        name = name_deployment(flow, use_case)
        if deployment["paused"]:
            said.append(f"{name} is paused")
        if not all(schedule["active"] for schedule in deployment["schedules"]):
            said.append(f"a schedule of {name} is inactive")
    if not found[MONITOR]["schedules"]:
        said.append(f"{monitor} has no schedule")
    for pool in sorted({made["work_pool_name"] for made in found.values()} - {None}):
        if read(f"work_pools/{pool}")["is_paused"]:
            said.append(f"work pool {pool} is paused")
    for queue in sorted({made["work_queue_id"] for made in found.values()} - {None}):
        asked = read(f"work_queues/{queue}")
        if asked["is_paused"]:
            said.append(f"work queue {asked['name']} is paused")
    return said
