"""`closedloop reject`: a person's answer to a candidate that waits."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, UseCasePath, WaitingDecision, Why
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop reject 7 --reason 'the new plan is missing'")
    def reject(
        decision: WaitingDecision,
        reason: Why,
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Turn a candidate down that waits for a person; production stays."""
        loop = session.open_loop(use_case)
        with session.working(f"answering decision {decision} ..."):
            from closedloop.cli.decision_view import show_answer
            from closedloop.turn import approval

            answer = approval.reject(loop, decision, by=session.person, reason=reason)
        session.show(
            as_json, answer.as_json(), lambda: show_answer(session.console, answer, session.person)
        )
