"""`closedloop deploy`: the deployments on a team's Prefect server."""

from __future__ import annotations

import typer

from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop deploy")
    def deploy() -> None:
        """Create or update the deployments of CLOSEDLOOP_USE_CASES on PREFECT_API_URL."""
        with session.working("deploying ..."):
            from flows.deployment.deploy import deploy_everything

            lines = deploy_everything(session.settings)
        for line in lines:
            session.print_line(line)
