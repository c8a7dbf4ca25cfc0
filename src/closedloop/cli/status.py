"""`closedloop status`: what is live now."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, UseCasePaths
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop status --json")
    def status(use_case: UseCasePaths = None, as_json: AsJson = False) -> None:
        """Show production, the version before it, all versions, and unfinished decisions.

        Of several use cases: a line for each.
        """
        named = session.settings.named_use_cases
        if use_case is None and len(named) > 1:
            _list_all(session, as_json)
            return
        loop = session.open_loop(use_case or named[0])
        with session.working("asking MLflow ..."):
            from closedloop.cli.status_view import read_status, show_status
            from closedloop.operations.access.servers_file import find_running

            facts = read_status(loop, session.environment)
            running = find_running(loop.settings.home_folder)
        session.show(as_json, facts, lambda: show_status(session.console, facts, running))


def _list_all(session: Session, as_json: bool) -> None:
    with session.working("reading the use cases ..."):
        from closedloop.cli.status_list import exit_code_of, read_statuses, tell_status
        from closedloop.operations.access.servers_file import find_running
        from closedloop.turn.open import open_loop

        statuses = read_statuses(
            session.settings.named_use_cases,
            lambda path: open_loop(path, settings=session.settings),
        )

    def print_lines() -> None:
        for facts in statuses:
            session.print_line(tell_status(facts))
        for name, server in find_running(session.settings.home_folder).items():
            session.print_line(f"{name}: {server.link()}")

    session.show(as_json, statuses, print_lines)
    if code := exit_code_of(statuses):
        raise typer.Exit(code)
