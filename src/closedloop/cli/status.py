"""`closedloop status`: what is live now."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop status --json")
    def status(use_case: UseCasePath = None, as_json: AsJson = False) -> None:
        """Show production, the version before it, all versions, and unfinished decisions."""
        loop = session.open_loop(use_case)
        with session.working("asking MLflow ..."):
            from closedloop.cli.status_view import read_status, show_status
            from closedloop.operations.access.servers_file import find_running

            facts = read_status(loop, session.environment)
            running = find_running(loop.settings.home_folder)
        session.show(as_json, facts, lambda: show_status(session.console, facts, running))
