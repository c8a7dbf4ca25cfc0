"""`closedloop why`: every check behind a decision."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop why 7")
    def why(
        decision: Annotated[
            int,
            typer.Argument(
                help="The id of a decision, from: closedloop history", metavar="DECISION"
            ),
        ],
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Show every check behind a decision, and its outcome."""
        loop = session.open_loop(use_case)
        from closedloop.cli.decision_view import report_link, show_decision

        entry = loop.journal.entry(decision)
        session.show(
            as_json,
            entry.as_json(),
            lambda: show_decision(
                session.console, entry, report=report_link(loop, entry), every_check=True
            ),
        )
