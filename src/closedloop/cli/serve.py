"""`closedloop serve`: the prediction API."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import UseCasePaths
from closedloop.cli.session import Session

Host = Annotated[
    str | None,
    typer.Option(
        "--host", help="The address to listen on.", show_default="CLOSEDLOOP_HOST, else 127.0.0.1"
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=1,
        max=65535,
        help="The port to listen on.",
        show_default="CLOSEDLOOP_PORT, else 8080",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Number of processes that answer.",
        show_default="CLOSEDLOOP_WORKERS, else 1",
    ),
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop serve --port 8080 --workers 2")
    def serve(
        use_case: UseCasePaths = None, host: Host = None, port: Port = None, workers: Workers = None
    ) -> None:
        """Serve predictions over HTTP; a new production version is picked up without a restart.

        Several use cases: /use-cases/NAME/predict, and /predict for the first.
        """
        from closedloop.cli.run_service import prepare_service

        prepare_service(session.settings, use_case, host, port, workers)()
