"""What `approve` and `reject` share: a person's answer is given and shown."""

from __future__ import annotations

from pathlib import Path

from closedloop.cli.session import Session
from closedloop.decisions.checks import Action


def answer_decision(
    session: Session,
    use_case: Path | None,
    decision: int,
    action: Action,
    *,
    reason: str,
    as_json: bool,
) -> None:
    """Answer a decision that waits with PROMOTE or REJECT, and show what came of it."""
    loop = session.open_loop(use_case)
    with session.working(f"answering decision {decision} ..."):
        from closedloop.cli.decision_view import show_answer
        from closedloop.turn import approval

        give = approval.approve if action is Action.PROMOTE else approval.reject
        answer = give(loop, decision, by=session.person, reason=reason)
    session.show(
        as_json, answer.as_json(), lambda: show_answer(session.console, answer, session.person)
    )
