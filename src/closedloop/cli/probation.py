"""`closedloop probation`: what is watched after a promotion, and a person's word to end it."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.plain_text import plain
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog='Example: closedloop probation end --reason "the old one is known to fail"')
    def probation(
        what: Annotated[
            str,
            typer.Argument(
                help="show: what is on probation, until when, and what was seen. end: watch it no "
                "longer, it stays.",
                metavar="[show|end]",
            ),
        ] = "show",
        reason: Annotated[
            str, typer.Option("--reason", help="Why, for the journal.", show_default=False)
        ] = "",
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Show what can still be taken back by itself, or end that by hand."""
        if what not in ("show", "end") or bool(reason) != (what == "end"):
            raise UseCaseError(
                where="closedloop probation",
                wanted="show, or end --reason TEXT",
                got=what if what not in ("show", "end") or reason else "end without --reason",
                then="see: closedloop probation --help",
            )
        loop = session.open_loop(use_case, with_records=True, if_whole=True)
        with session.working("asking MLflow ..."):
            from closedloop.turn.probation_standing import (
                describe_probation,
                read_probation,
                tell_probation,
            )

            found = read_probation(loop) if what == "show" else None
        if what == "show":
            told = tell_probation(found) if found else []
            lines = told or ["nothing is on probation"]
            session.show(as_json, describe_probation(found), lambda: _print(session, lines))
            return
        from closedloop.cli.decision_view import show_decision
        from closedloop.turn.probation_end import end_probation

        with session.working("ending the probation ..."):
            entry = end_probation(loop, by=session.person, reason=reason)
        session.show(as_json, entry.as_json(), lambda: show_decision(session.console, entry))


def _print(session: Session, lines: list[str]) -> None:
    for line in lines:
        session.print_line(plain(line))
