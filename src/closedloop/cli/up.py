"""`closedloop up`: MLflow, Prefect, the schedule, the API and the page on one machine."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import UseCasePaths
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
    def up(use_case: UseCasePaths = None, every: Cron = None) -> None:
        """Run MLflow, Prefect with the scheduled deployments, API and page, until Ctrl-C."""
        from closedloop.use_case.several import load_use_cases, refuse_mixed_code

        read = load_use_cases((use_case,) if use_case else session.settings.named_use_cases)
        refuse_mixed_code(read)
        loops = [session.open_loop(named.path) for named in read]
        from closedloop.cli.run_stack import run_stack

        run_stack(session, loops, every)
