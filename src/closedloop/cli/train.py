"""`closedloop train`: train and compare a candidate without waiting for a trigger."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, ExitCode, RowSource, UseCasePath, WindowName
from closedloop.cli.prefect_server import starting_prefect
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop train --use-case data/iris")
    def train(
        use_case: UseCasePath = None,
        window: WindowName = None,
        source: RowSource = "windows",
        force: Annotated[
            bool,
            typer.Option(
                "--force", help="Train also for a window older than what production knows."
            ),
        ] = False,
        exit_code: ExitCode = False,
        as_json: AsJson = False,
    ) -> None:
        """Train a candidate now, compare it with production, and promote it if it passes."""
        with starting_prefect(session) as prefect:
            from closedloop.cli.run_flow import run_flow

            code = run_flow(
                session, prefect, "train", use_case, window, source, force=force, as_json=as_json
            )
        if exit_code:
            raise typer.Exit(code)
