"""`closedloop alert`: what people were told, and a test of every channel."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import AsJson, Newest, UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError

Test = Annotated[
    bool, typer.Option("--test", help="Send a test to every channel, and print what each said.")
]
Send = Annotated[
    bool, typer.Option("--send", help="Look now for what people are to be told, and send it.")
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop alert --test")
    def alert(
        use_case: UseCasePath = None,
        test: Test = False,
        send: Send = False,
        last: Newest = None,
        as_json: AsJson = False,
    ) -> None:
        """List the alerts: what was sent, what waits, what was given up."""
        if test and send:
            raise UseCaseError(
                where="closedloop alert",
                wanted="--test or --send",
                got="both",
                then="choose one of the two",
            )
        loop = session.open_loop(use_case)
        from closedloop.cli.alert_view import (
            show_answers,
            show_deliveries,
            show_looked,
        )
        from closedloop.operations.alerts.look import look_and_send
        from closedloop.operations.alerts.overview import list_deliveries
        from closedloop.operations.alerts.try_out import try_channels

        if test:
            with session.working("sending a test ..."):
                answers = try_channels(loop)
            facts = [{"channel": name, "error": error or None} for name, error in answers.items()]
            session.show(as_json, facts, lambda: show_answers(session.console, loop, answers))
            if not answers or any(answers.values()):
                raise typer.Exit(1)
            return
        if send:
            with session.working("telling people ..."):
                looked = look_and_send(loop)
            if not as_json:
                show_looked(session.console, looked)
        deliveries = list_deliveries(loop)[-(last or 0) :]
        session.show(
            as_json,
            [delivery.as_json() for delivery in deliveries],
            lambda: show_deliveries(session.console, loop, deliveries),
        )
