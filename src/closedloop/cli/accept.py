"""`closedloop accept`: a person goes on from what registry and journal hold now."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, Reason, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop accept")
    def accept(
        reason: Reason = None, use_case: UseCasePath = None, as_json: AsJson = False
    ) -> None:
        """Go on from what is there, when doctor says that registry and journal disagree."""
        loop = session.open_loop(use_case)
        with session.working("comparing registry and journal ..."):
            from closedloop.cli.decision_view import show_decision
            from closedloop.turn.begin_anew import accept_as_it_is

            entry = accept_as_it_is(loop, by=session.person, reason=reason)
        session.show(as_json, entry.as_json(), lambda: show_decision(session.console, entry))
