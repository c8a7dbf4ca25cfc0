"""Delete what nothing needs any more, or show what would go: loops never delete, and disks fill."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.operations.prune import Limits, Pruning, prune, tell_pruning
from closedloop.turn.open import Loop, open_loop


@task(name="delete what nothing needs", cache_policy=NO_CACHE, persist_result=False)
def delete_unneeded(loop: Loop, limits: Limits, dry_run: bool) -> Pruning:
    """Choose what goes, and delete it unless this only looks."""
    return prune(loop, limits, dry_run=dry_run)


@flow(name="prune", flow_run_name="prune, keep {keep_versions} versions", validate_parameters=False)
def prune_flow(
    use_case: str = "",
    keep_versions: int = 20,
    keep_reports: int | None = None,
    keep_days_of_records: int = 0,
    dry_run: bool = True,
) -> dict[str, Any]:
    """Delete model files, drift reports and records that nothing will ask for again; decisions, and
    what is known of every version, stay.

    Production, the version it replaced, candidates that wait and all that is newer than production
    are never touched. Running it again after a crash goes on where it was.

    Args:
        use_case: Path of a loop.toml. Empty: what CLOSEDLOOP_USE_CASE says.
        keep_versions: How many of the newest rejected and archived versions keep their files.
        keep_reports: How many drift reports stay. Empty: what CLOSEDLOOP_KEEP_REPORTS says.
        keep_days_of_records: Records older than so many days go, unless training or judging still needs them. 0: all stay.
        dry_run: Only look what would go. What is deleted cannot be brought back.

    Returns:
        What went, or would go, as `closedloop prune --json` prints it.
    """
    loop = open_loop(use_case or None)
    limits = Limits(
        keep_versions,
        loop.settings.keep_reports if keep_reports is None else keep_reports,
        keep_days_of_records,
    )
    found = delete_unneeded(loop, limits, dry_run)
    told = tell_pruning(found, dry_run=dry_run)
    create_markdown_artifact(
        key="pruning", markdown="\n".join(f"- {line}" for line in told), description=told[0]
    )
    return found.as_json()
