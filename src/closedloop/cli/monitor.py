"""`closedloop monitor`: one turn of the loop."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, ExitCode, RowSource, UseCasePath, WindowName
from closedloop.cli.prefect_server import starting_prefect
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop monitor --window month_001")
    def monitor(
        use_case: UseCasePath = None,
        window: WindowName = None,
        every: Annotated[
            bool,
            typer.Option("--all", help="Look at every window that was not looked at, in order."),
        ] = False,
        start: Annotated[
            str | None,
            typer.Option("--from", metavar="WINDOW", help="As --all, beginning with this window."),
        ] = None,
        source: RowSource = "windows",
        exit_code: ExitCode = False,
        as_json: AsJson = False,
    ) -> None:
        """Check a window for drift and lost quality, decide, and act: one turn of the loop."""
        if every or start is not None:
            from closedloop.cli.catch_up import catch_up, refuse_window_as_well

            refuse_window_as_well(window)
            code = catch_up(session, use_case, start, source, as_json=as_json)
        else:
            with starting_prefect(session) as prefect:
                from closedloop.cli.run_flow import run_flow

                code = run_flow(
                    session, prefect, "monitor", use_case, window, source, as_json=as_json
                )
        if exit_code:
            raise typer.Exit(code)
