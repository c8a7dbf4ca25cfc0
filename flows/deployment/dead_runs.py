"""Runs that nobody carries on are found and said to have crashed, so that a dead one never keeps
the one place there is.

Prefect learns of the end of a run from the worker that started it. When that one is gone too, with
its machine or by `kill -9`, nobody says so: the run stays as it was for ever. What is missing then
tells: its heartbeats, or its start.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.server.names import TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

# Four heartbeats, one each 30 s (prefect.yaml): one that is late does not end a healthy run.
LOST_AFTER = timedelta(minutes=2)
# From being handed to a worker to its first step: a container may have to be fetched, but not for
# so long.
STUCK_AFTER = timedelta(minutes=10)
HEARTBEAT = "prefect.flow-run.heartbeat"
# Every state that needs no heartbeats; whatever waits for a person does not either.
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
) -> tuple[AutomationCore, ...]:
    """Both automations, for runs of our deployments only."""
    # Also from its first moment on: one that is killed before its first heartbeat never sends any.
    alive = {HEARTBEAT, *_events(("Running", "Retrying"))}
    beats = {HEARTBEAT, *_events(_QUIET_STATES)}
    starts = {HEARTBEAT, *_events(("Running", "AwaitingConcurrencySlot", *_QUIET_STATES))}
    return (
        _crash(
            "closedloop: a run without heartbeats has crashed",
            alive,
            beats,
            lost_after,
            "no heartbeat any more: its process is gone",
        ),
        _crash(
            "closedloop: a run that does not start has crashed",
            _events(_NOT_STARTED),
            starts,
            stuck_after,
            "it was not started in time",
        ),
    )


def install_automations(client: SyncPrefectClient, wanted: Iterable[AutomationCore]) -> list[str]:
    """Bring what the server has under these names to what is wanted, each once; returns the names
    of those that changed.

    One that a person has switched off stays off.
    """
    changed = []
    for automation in wanted:
        found = client.read_automations_by_name(automation.name)
        if not found:
            client.create_automation(automation)
            changed.append(automation.name)
        elif _told(found[0]) != _told(automation):
            client.update_automation(
                found[0].id, automation.model_copy(update={"enabled": found[0].enabled})
            )
            changed.append(automation.name)
    return changed


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
        description=f"Nothing was heard of the run for {within}.",
        trigger=trigger,
        actions=[
            ChangeFlowRunState(
                name="Crashed", state=StateType.CRASHED, message=message, force=False
            )
        ],
    )


def _told(automation: AutomationCore) -> dict[str, Any]:
    """What an automation does, without what the server adds to it; sets in order."""
    told = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
    trigger = {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in told["trigger"].items()
        if name != "id"
    }
    return {**told, "trigger": trigger}
