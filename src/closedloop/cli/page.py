"""`closedloop page`: the page for people, in a process of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import UseCasePath
from closedloop.cli.session import Session

# The secret of the link that `closedloop up` prints. In the environment, because a command line is
# shown to every user of the machine.
LINK = "PAGE_LINK_SECRET"

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="The address to listen on.",
        show_default="CLOSEDLOOP_PAGE_HOST, else 127.0.0.1",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=1,
        max=65535,
        help="The port to listen on.",
        show_default="CLOSEDLOOP_PAGE_PORT, else 8001",
    ),
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop page --port 8001")
    def page(use_case: UseCasePath = None, host: Host = None, port: Port = None) -> None:
        """Show the loop in a browser: what answers and why, what waits for you, how it is."""
        link = session.environment.pop(LINK, None)
        loop = session.open_loop(use_case)
        settings = loop.settings
        from closedloop.cli.serve_page import serve_page

        serve_page(session, loop, host or settings.page_host, port or settings.page_port, link)
