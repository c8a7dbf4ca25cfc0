"""Runs whose process is gone are marked as crashed, so that they do not block later runs.

Prefect learns from the worker that a run ended. When the worker dies too, with its machine or by
`kill -9`, the run stays `Running` for ever and keeps its concurrency slot. On a team's server two
automations detect this by a missing heartbeat or a missing start. A process that serves alone looks
once, when it starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import Crashed

from flows.prefect_client.lookup import of_use_case
from flows.prefect_client.names import TAG

# Four heartbeats of 30 s each (prefect.yaml): a single late one does not end a healthy run.
LOST_AFTER = timedelta(minutes=2)
# Between submission and the first step a container may have to be pulled.
STUCK_AFTER = timedelta(minutes=10)
HEARTBEAT = "prefect.flow-run.heartbeat"
# States without heartbeats, runs that wait for a person included.
_QUIET_STATES = (
    "Completed",
    "Failed",
    "Cancelled",
    "Crashed",
    "Cancelling",
    "Paused",
    "Suspended",
    "Scheduled",
    "AwaitingRetry",
)
_NOT_STARTED = ("Pending", "Submitting", "InfrastructurePending")


def dead_run_automations(
    lost_after: timedelta = LOST_AFTER, stuck_after: timedelta = STUCK_AFTER
) -> tuple[AutomationCore, AutomationCore]:
    """Automations that mark lost and stuck runs of our deployments as crashed."""
    # The start counts too: a run that is killed before its first heartbeat never sends any.
    alive = {HEARTBEAT, *_events(("Running", "Retrying"))}
    beats = {HEARTBEAT, *_events(_QUIET_STATES)}
    starts = {HEARTBEAT, *_events(("Running", "AwaitingConcurrencySlot", *_QUIET_STATES))}
    return (
        _crash(
            "closedloop: a run without heartbeats has crashed",
            alive,
            beats,
            lost_after,
            "no heartbeat: the process is gone",
        ),
        _crash(
            "closedloop: a run that does not start has crashed",
            _events(_NOT_STARTED),
            starts,
            stuck_after,
            "it did not start in time",
        ),
    )


def install_automations(client: SyncPrefectClient, wanted: Iterable[AutomationCore]) -> list[str]:
    """Create or update automations by name; returns the names of those that changed.

    One that a person has disabled stays disabled.
    """
    changed = []
    for automation in wanted:
        found = client.read_automations_by_name(automation.name)
        if not found:
            client.create_automation(automation)
            changed.append(automation.name)
        elif _content(found[0]) != _content(automation):
            client.update_automation(
                found[0].id, automation.model_copy(update={"enabled": found[0].enabled})
            )
            changed.append(automation.name)
    return changed


def crash_orphaned_runs(use_case: str) -> int:
    """Mark every unfinished run of a use case, and its child runs, as crashed; returns how many.

    For the start of the only process that runs them: whatever is under way then has lost its own.
    """
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
            children = filters.FlowRunFilter(
                state=under_way, parent_flow_run_id=filters.FlowRunFilterParentFlowRunId(any_=dead)
            )
            dead += [run.id for run in client.read_flow_runs(flow_run_filter=children)]
        for run_id in dead:
            client.set_flow_run_state(
                run_id, Crashed(message="its process ended before the run did"), force=True
            )
    return len(dead)


def _events(states: Iterable[str]) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


def _crash(
    name: str, after: set[str], expect: set[str], within: timedelta, message: str
) -> AutomationCore:
    trigger = EventTrigger(
        after=after,
        expect=expect,
        within=within,
        threshold=1,
        posture=Posture.Proactive,
        for_each={"prefect.resource.id"},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
    )
    return AutomationCore(
        name=name,
        description=f"The run sent no event for {within}.",
        trigger=trigger,
        actions=[
            ChangeFlowRunState(
                name="Crashed", state=StateType.CRASHED, message=message, force=False
            )
        ],
    )


def _content(automation: AutomationCore) -> dict[str, Any]:
    """What an automation does, comparable: without the server's additions, sets in order."""
    content = automation.model_dump(
        mode="json", include={"name", "description", "trigger", "actions"}
    )
    trigger = {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in content["trigger"].items()
        if name != "id"
    }
    return {**content, "trigger": trigger}
