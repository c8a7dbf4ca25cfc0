"""`closedloop prune`: delete old model files, drift reports and records."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, DryRun, UseCasePath
from closedloop.cli.session import Session

KeepVersions = Annotated[
    int,
    typer.Option(
        "--keep-versions",
        min=0,
        help="Number of rejected and archived versions that keep their files.",
    ),
]
KeepReports = Annotated[
    int | None,
    typer.Option(
        "--keep-reports",
        min=0,
        help="Number of drift reports to keep.",
        show_default="CLOSEDLOOP_KEEP_REPORTS, else 100",
    ),
]
KeepDays = Annotated[
    int,
    typer.Option("--keep-days-of-records", min=0, help="Delete older records; 0 keeps all."),
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop prune --keep-versions 10 --dry-run")
    def prune(
        use_case: UseCasePath = None,
        keep_versions: KeepVersions = 20,
        keep_reports: KeepReports = None,
        keep_days_of_records: KeepDays = 0,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        """Delete model files, drift reports and records nobody needs; decisions are kept."""
        loop = session.open_loop(use_case)
        with session.working("pruning ..."):
            from closedloop.operations.prune import Limits, prune, tell_pruning

            limits = Limits(
                keep_versions,
                loop.settings.keep_reports if keep_reports is None else keep_reports,
                keep_days_of_records,
            )
            found = prune(loop, limits, dry_run=dry_run)
        session.show(
            as_json,
            found.as_json(),
            lambda: session.print_line("\n".join(tell_pruning(found, dry_run=dry_run))),
        )
