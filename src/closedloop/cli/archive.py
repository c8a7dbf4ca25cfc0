"""`closedloop archive`: write closed days of the records as Parquet."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, DryRun, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop archive --dry-run")
    def archive(
        use_case: UseCasePath = None, dry_run: DryRun = False, as_json: AsJson = False
    ) -> None:
        """Write closed days of the records as Parquet to CLOSEDLOOP_ARCHIVE."""
        loop = session.open_loop(use_case)
        with session.working("archiving ..."):
            from closedloop.operations.archive import archive, tell_archiving

            found = archive(loop, dry_run=dry_run)
        session.show(
            as_json,
            found.as_json(),
            lambda: session.print_line("\n".join(tell_archiving(found, dry_run=dry_run))),
        )
