"""`closedloop prune`: delete what nothing needs any more, or say what would go."""

from __future__ import annotations

import json
import sys

from rich.console import Console

from closedloop.cli.options import AsJson, DryRun, KeptDays, KeptReports, KeptVersions, UseCasePath


def prune_use_case(
    use_case: UseCasePath = None,
    keep_versions: KeptVersions = 20,
    keep_reports: KeptReports = None,
    keep_days_of_records: KeptDays = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete model files, drift reports and records that nothing will ask for again; decisions and
    evidence stay."""
    with Console(stderr=True).status("looking for what nothing needs ..."):
        from closedloop.operations.prune import Limits, prune, tell_pruning
        from closedloop.turn.open import open_loop

        loop = open_loop(use_case)
        limits = Limits(
            keep_versions,
            loop.settings.keep_reports if keep_reports is None else keep_reports,
            keep_days_of_records,
        )
        found = prune(loop, limits, dry_run=dry_run)
    said = (
        json.dumps(found.as_json(), indent=2)
        if as_json
        else "\n".join(tell_pruning(found, dry_run=dry_run))
    )
    sys.stdout.write(said + "\n")
