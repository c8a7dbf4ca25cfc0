"""`closedloop approve`: a person's answer to a candidate that waits."""

from __future__ import annotations

import typer

from closedloop.cli.answer import answer_decision
from closedloop.cli.options import AsJson, UseCasePath, WaitingDecision, Why
from closedloop.cli.session import Session
from closedloop.decisions.checks import Action


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop approve 7 --reason 'clear gain, no slice is worse'")
    def approve(
        decision: WaitingDecision,
        reason: Why,
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Let a candidate that waits for a person become production."""
        answer_decision(session, use_case, decision, Action.PROMOTE, reason=reason, as_json=as_json)
