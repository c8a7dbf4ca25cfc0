"""A retraining as a flow run of its own, carried out by workers of another pool."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from closedloop.decisions.checks import Action
from closedloop.errors import ClosedLoopError
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.open import Loop
from flows.prefect_client.lookup import of_use_case
from flows.prefect_client.names import TRAIN, name_deployment


def find_untrained(entry: Entry, entries: Sequence[Entry], names: Sequence[str]) -> Entry | None:
    """The decision to retrain that is still open after a turn that decided `entry`, if any.

    That is the turn's own decision, or else the newest of all `entries` (oldest first) on one of
    the windows `names`: its run may have died after the turn that asked for it. Older ones are left
    alone, because a newer training includes their windows; so is what a person asked for. Nothing
    is retrained in a turn that rolled back.
    """
    if entry.decision.action is Action.RETRAIN and entry.outcome is None:
        return entry
    newest = next(
        (
            asked
            for asked in reversed(entries)
            if asked.decision.action is Action.RETRAIN and asked.origin is not Origin.PERSON
        ),
        None,
    )
    if newest is None or newest.outcome is not None or newest.decision.window not in names:
        return None
    return newest if entry.decision.action is not Action.ROLLBACK else None


def start_training(loop: Loop, entry: Entry, source: str) -> bool:
    """Start a run of `train-and-compare/NAME` for a decision; returns whether it did.

    None is started while another waits or runs. The run is a child of the calling flow run, which
    does not wait for it. A run that ended without carrying the decision out is followed by another:
    the journal says whether it was carried out, Prefect only whether a run is under way. Raises
    ClosedLoopError without the deployment.
    """
    name, tag = entry.use_case, f"decision-{entry.id}"
    runs = filters.FlowRunFilter(tags=filters.FlowRunFilterTags(all_=[tag]))
    with get_client(sync_client=True) as client:
        started = client.read_flow_runs(deployment_filter=of_use_case(name), flow_run_filter=runs)
    if any(run.state is None or not run.state.is_final() for run in started):
        get_run_logger().info("a training for decision %s is under way", entry.id)
        return False
    # Read after those runs ended: the last of them may have done it since this turn decided.
    if loop.journal.entry(entry.id).outcome is not None:
        return False
    deployment = name_deployment(TRAIN, name)
    try:
        run = run_deployment(
            deployment,
            parameters={"window": entry.decision.window, "cause": entry.id, "source": source},
            tags=[tag],
            # The same key always finds the same run, a dead one too, so each attempt has its own
            # key, and two callers at once start one run.
            idempotency_key=f"{deployment}/{tag}/{len(started) + 1}",
            timeout=0,
        )
    except ObjectNotFound:
        raise ClosedLoopError(
            where="CLOSEDLOOP_TRAIN_SEPARATELY",
            wanted=f"the deployment {deployment}",
            got="no such deployment",
            then="deploy it with: python -m flows.deployment.deploy, or set it to False",
        ) from None
    get_run_logger().info("training started for decision %s: %s", entry.id, run.name)  # type: ignore[union-attr]
    return True
