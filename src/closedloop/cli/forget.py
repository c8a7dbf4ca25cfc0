"""`closedloop forget`: remove one person's rows from the records."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.cli.options import AsJson, DryRun, UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError

if TYPE_CHECKING:
    from closedloop.operations.forget import Erasure
    from closedloop.turn.open import Loop

STDIN = "-"


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop forget --key c-17 --dry-run")
    def forget(
        key: Annotated[
            str,
            typer.Option(
                "--key",
                help="The key of the person, as the API was sent it; - reads it from stdin.",
                metavar="KEY",
            ),
        ],
        use_case: UseCasePath = None,
        reason: Annotated[
            str | None,
            typer.Option(
                "--reason",
                help="Why, for the journal, which keeps it: leave out who it is.",
                show_default="none",
            ),
        ] = None,
        dry_run: DryRun = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Remove one person's rows from the records, and list the versions trained on them."""
        wanted = sys.stdin.readline().rstrip("\r\n") if key == STDIN else key
        loop = session.open_loop(use_case)
        from closedloop.operations.forget import forget, plan_erasure
        from closedloop.turn.who_and_why import check_reason

        why = None if reason is None else check_reason(reason)
        if dry_run or not yes:
            with session.working("looking for rows ..."):
                found = plan_erasure(loop, wanted)
            if dry_run or not found.needed:
                _show(session, loop, found, as_json=as_json, done=False)
                return
            _ask(session, loop, found, from_stdin=key == STDIN)
        with session.working("removing rows ..."):
            found = forget(loop, wanted, by=session.person, why=why)
        _show(session, loop, found, as_json=as_json, done=True)


def _ask(session: Session, loop: Loop, found: Erasure, *, from_stdin: bool) -> None:
    """Show what would be removed and ask; raises UseCaseError where nobody can answer."""
    if from_stdin or not sys.stdin.isatty():
        raise UseCaseError(
            where="closedloop forget",
            wanted="a person who says yes",
            got="no terminal to ask on",
            then="look first with --dry-run, then give --yes",
        )
    from closedloop.operations.forget import tell_erasure

    on_sqlite = loop.engine.dialect.name == "sqlite"
    for line in tell_erasure(found, on_sqlite=on_sqlite, done=False):
        typer.echo(line, err=True)
    if not typer.confirm("Remove them for good?", err=True):
        raise typer.Exit(1)


def _show(session: Session, loop: Loop, found: Erasure, *, as_json: bool, done: bool) -> None:
    from closedloop.operations.forget import tell_erasure

    on_sqlite = loop.engine.dialect.name == "sqlite"
    lines = tell_erasure(found, on_sqlite=on_sqlite, done=done)
    session.show(as_json, found.as_json(), lambda: session.print_line("\n".join(lines)))
