"""Delete files that are no longer needed, or show which: without it the disk fills up."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.operations.prune import KeepRules, Pruning, prune, tell_pruning
from closedloop.shown_text import as_markdown
from closedloop.turn.open import Loop, open_loop
from flows.private_files import privately


@task(name="delete what nothing needs", cache_policy=NO_CACHE, persist_result=False)
def delete_unneeded(loop: Loop, rules: KeepRules, dry_run: bool) -> Pruning:
    """Choose what to delete, and delete it unless `dry_run`."""
    return prune(loop, rules, dry_run=dry_run)


@flow(name="prune", flow_run_name="prune, keep {keep_versions} versions", validate_parameters=False)
@privately
def prune_flow(
    use_case: str = "",
    keep_versions: int = 20,
    keep_reports: int | None = None,
    keep_days_of_records: int = 0,
    dry_run: bool = True,
) -> dict[str, Any]:
    """Delete model files, drift reports and records that are no longer needed.

    Decisions and the facts of every version stay.

    Production, the version it replaced, waiting candidates and everything newer than production are
    never touched. After a crash, run it again: it continues where it stopped.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.
        keep_versions: How many of the newest rejected and archived versions keep their files.
        keep_reports: How many drift reports to keep. Empty: the value of CLOSEDLOOP_KEEP_REPORTS.
        keep_days_of_records: Delete records older than this that no turn needs. 0: keep all.
        dry_run: Only show what would be deleted. Deleted files cannot be restored.

    Returns:
        What was deleted, or would be, as `closedloop prune --json` prints it.
    """
    loop = open_loop(use_case or None)
    rules = KeepRules(
        keep_versions,
        loop.settings.keep_reports if keep_reports is None else keep_reports,
        keep_days_of_records,
    )
    found = delete_unneeded(loop, rules, dry_run)
    told = [as_markdown(line) for line in tell_pruning(found, dry_run=dry_run)]
    create_markdown_artifact(
        key="pruning", markdown="\n".join(f"- {line}" for line in told), description=told[0]
    )
    return found.as_json()
