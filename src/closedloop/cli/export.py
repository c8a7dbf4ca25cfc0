"""`closedloop export`: a version as a folder that scores rows without closedloop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop export 3 model-3")
    def export(
        version: Annotated[
            int,
            typer.Argument(help="The version to export, from: closedloop status", metavar="N"),
        ],
        out: Annotated[
            Path, typer.Argument(metavar="DIR", help="The folder to write: new, or empty.")
        ],
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Write a version into a folder that scores rows without closedloop."""
        loop = session.open_loop(use_case)
        with session.working(f"exporting version {version} ..."):
            from closedloop.operations.export import export_version

            loaded = export_version(loop, version, out, session.users_files)
        served_by = loaded.proof.served_by
        if as_json:
            session.print_json({"version": version, "folder": str(out), "served_by": served_by})
        else:
            session.print_line(f"exported version {version} ({served_by}): {out}/score.py")
