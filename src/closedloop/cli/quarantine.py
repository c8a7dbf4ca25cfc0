"""`closedloop quarantine`: which windows are kept out of training, and what a person says to it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from closedloop.cli.options import AsJson, Reason, UseCasePath
from closedloop.cli.session import Session
from closedloop.decisions.checks import Action
from closedloop.errors import UseCaseError

VERBS = {"release": Action.RELEASE, "keep": Action.QUARANTINE}


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop quarantine release 2026-03")
    def quarantine(
        what: Annotated[
            str,
            typer.Argument(
                help="list: show what is kept out, and why. release: train on the window. "
                "keep: keep it out of training, also one that the loop trusts.",
                metavar="[list|release|keep]",
            ),
        ] = "list",
        window: Annotated[
            str, typer.Argument(help="The name of the window.", metavar="[WINDOW]")
        ] = "",
        reason: Reason = None,
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """List windows whose labels are not trusted, release one, or keep one out of training."""
        if (what != "list" and what not in VERBS) or bool(window) == (what == "list"):
            raise UseCaseError(
                where="closedloop quarantine",
                wanted="list, release WINDOW or keep WINDOW",
                got=f"{what} {window}".rstrip(),
                then="see: closedloop quarantine --help",
            )
        loop = session.open_loop(use_case, with_records=True, if_whole=True)
        if what == "list":
            from closedloop.turn.kept_out import read_kept_out

            kept = read_kept_out(loop.journal.history(loop.use_case.name))
            session.show(as_json, kept, lambda: _print_kept(session, kept))
            return
        from closedloop.cli.decision_view import show_decision
        from closedloop.turn.quarantine_by_hand import decide_by_hand

        entry = decide_by_hand(loop, VERBS[what], window, by=session.person, reason=reason)
        session.show(as_json, entry.as_json(), lambda: show_decision(session.console, entry))


def _print_kept(session: Session, kept: list[dict[str, Any]]) -> None:
    for line in [found["told"] for found in kept] or ["no window is kept out of training"]:
        session.print_line(line)
