"""`closedloop up`: MLflow, Prefect, the schedule, the API and the page on one machine."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import UseCasePath
from closedloop.cli.session import Session

Cron = Annotated[
    str | None,
    typer.Option(
        "--cron",
        help="When to monitor: minute hour day month weekday.",
        show_default="schedule.cron of loop.toml",
    ),
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop up")
    def up(use_case: UseCasePath = None, every: Cron = None) -> None:
        """Run MLflow, Prefect with the scheduled deployments, API and page, until Ctrl-C."""
        loop = session.open_loop(use_case)
        from closedloop.cli.run_stack import run_stack

        run_stack(session, loop, every)
