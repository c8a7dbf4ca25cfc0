"""`closedloop rollback`: a person goes back to an earlier version."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, BackTo, Reason, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop rollback --to 2")
    def rollback(
        use_case: UseCasePath = None,
        to: BackTo = None,
        reason: Reason = None,
        as_json: AsJson = False,
    ) -> None:
        """Go back to the version before production, or to any other version."""
        loop = session.open_loop(use_case)
        with session.working("rolling back ..."):
            from closedloop.cli.decision_view import show_decision
            from closedloop.turn.move_by_hand import roll_back_by_hand

            entry = roll_back_by_hand(loop, to, by=session.person, reason=reason)
        session.show(as_json, entry.as_json(), lambda: show_decision(session.console, entry))
