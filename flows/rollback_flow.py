"""Go back to an earlier version at a person's request, from Prefect's page."""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.storage.entry import Entry
from closedloop.turn.move_by_hand import roll_back_by_hand
from closedloop.turn.open import Loop, open_loop
from flows.decision_page import describe, tell_moved
from flows.prefect_client.lookup import name_person, this_run
from flows.private_files import privately
from flows.telling import telling


@task(name="go back", cache_policy=NO_CACHE, persist_result=False)
def go_back(loop: Loop, to: int, by: str, reason: str) -> Entry:
    """Write the request down, and move `production`: refused if it has moved since the request."""
    run = this_run()
    return roll_back_by_hand(
        loop,
        to or None,
        by=name_person(by),
        reason=reason or None,
        asked_at=run.created if run else None,
    )


@flow(name="rollback", flow_run_name="go back by hand", validate_parameters=False)
@privately
@telling
def rollback_flow(use_case: str = "", to: int = 0, reason: str = "", by: str = "") -> int:
    """Move `production` back, whatever the evidence says.

    Run again after a crash, it finishes what was started.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.
        to: The version to go back to. 0: the version that production replaced.
        reason: Why, in a sentence. The journal keeps it.
        by: Your name: Prefect does not say who starts a run.

    Returns:
        The id of the decision in the journal.
    """
    loop = open_loop(use_case or None)
    entry = go_back(loop, to, by, reason)
    create_markdown_artifact(
        key="rollback-decision",
        markdown=describe(entry) + tell_moved(loop),
        description=f"{entry.decision.action.value}: version {entry.decision.version}",
    )
    return entry.id
