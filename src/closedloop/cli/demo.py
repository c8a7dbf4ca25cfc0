"""`closedloop demo`: the whole loop on synthetic data."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop demo")
    def demo(
        forget: Annotated[
            bool, typer.Option("--forget", help="Delete the data and models of earlier demos.")
        ] = False,
    ) -> None:
        """Run the loop over seven months of a subscription business, in about a minute."""
        from closedloop.cli.play_demo import forget_demo, play_demo

        if forget:
            forget_demo(session)
        else:
            play_demo(session)
