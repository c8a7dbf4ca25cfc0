"""`closedloop promote`: a person makes a version production."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, Reason, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop promote 3")
    def promote(
        version: Annotated[
            int,
            typer.Argument(
                help="The version to make production, from: closedloop status", metavar="N"
            ),
        ],
        reason: Reason = None,
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Make a version production by hand; the journal records it as your decision."""
        loop = session.open_loop(use_case)
        with session.working(f"promoting version {version} ..."):
            from closedloop.cli.decision_view import show_decision
            from closedloop.turn.card import carry_out_with_card
            from closedloop.turn.move_by_hand import promote_by_hand

            entry = promote_by_hand(
                loop, version, by=session.person, reason=reason, act=carry_out_with_card
            )
        session.show(as_json, entry.as_json(), lambda: show_decision(session.console, entry))
