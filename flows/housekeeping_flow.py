"""Prune by [housekeeping] of loop.toml, on its schedule: show first, delete by a later run.

Then closed days of the records go into the archive, where there is one.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.operations.archive import Archiving, archive, tell_archiving
from closedloop.operations.housekeeping import Kept, keep_house, read_housekeeping
from closedloop.shown_text import as_markdown
from closedloop.turn.open import Loop, open_loop
from flows.best_effort import best_effort
from flows.prefect_client.missed_runs import cancel_missed_runs
from flows.private_files import privately


@task(name="keep house", cache_policy=NO_CACHE, persist_result=False)
def keep_the_house(loop: Loop) -> tuple[Kept | None, Kept]:
    """Delete what an earlier run has shown, if that is enabled, and show what is left."""
    return keep_house(loop)


@task(name="archive closed days", cache_policy=NO_CACHE, persist_result=False)
def archive_days(loop: Loop) -> Archiving:
    """Write the files of closed days that have none."""
    return archive(loop)


@flow(name="housekeeping", flow_run_name="keep house", validate_parameters=False)
@privately
def housekeeping_flow(use_case: str = "") -> dict[str, Any]:
    """Delete by the rules of [housekeeping] what an earlier run has shown, and show what is next.

    It deletes nothing unless [housekeeping] is enabled. With CLOSEDLOOP_ARCHIVE it also writes
    closed days of the records as Parquet. After a crash, the next run continues.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.

    Returns:
        What is kept of it, as `closedloop status --json` prints under `housekeeping`.
    """
    with best_effort("cancel what was missed before"):
        cancel_missed_runs()
    loop = open_loop(use_case or None)
    deleted, shown = keep_the_house(loop)
    lines = [*(deleted.lines if deleted else ()), *shown.lines]
    if deleted is None:
        lines.append(_tell_why_not(loop))
    if loop.records.archive is not None:
        lines += tell_archiving(archive_days(loop), dry_run=False)
    create_markdown_artifact(
        key="housekeeping",
        markdown="\n".join(f"- {as_markdown(line)}" for line in lines),
        description=as_markdown(lines[0]),
    )
    return read_housekeeping(loop).as_json()


def _tell_why_not(loop: Loop) -> str:
    if loop.use_case.housekeeping.enabled:
        return "nothing was deleted: the next run deletes by the rules that this one has shown"
    return "nothing was deleted: [housekeeping] is not enabled"
