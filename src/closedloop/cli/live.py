"""`closedloop live`: what was live when, and where a prediction came from."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop live --at 2026-11-20T14:30")
    def live(
        use_case: UseCasePath = None,
        at: Annotated[
            str | None,
            typer.Option(
                "--at",
                metavar="TIME",
                help="A date or a time in ISO 8601, UTC without a zone.",
                show_default="now",
            ),
        ] = None,
        prediction: Annotated[
            str | None,
            typer.Option("--prediction", metavar="ID", help="Tell where a prediction came from."),
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Tell which version was live at a time, since which decision, and until when."""
        if at is not None and prediction is not None:
            raise UseCaseError(
                where="closedloop live",
                wanted="a time or a prediction",
                got="--at and --prediction",
                then="leave one of them out; a prediction has its own time",
            )
        loop = session.open_loop(use_case)
        from closedloop.cli.live_view import find_live, find_prediction, show_live, show_prediction

        if prediction is None:
            found = find_live(loop, at)
            session.show(as_json, found.as_json(), lambda: show_live(session.console, found))
            return
        origin, link = find_prediction(loop, prediction)
        facts = {**origin.as_json(), "run_link": link}
        session.show(as_json, facts, lambda: show_prediction(session.console, origin, link))
