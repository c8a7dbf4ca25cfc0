"""`closedloop key`: who may call the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.session import Session
from closedloop.errors import UseCaseError

ACTIONS = ("add", "list", "remove")


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop key add web-shop")
    def key(
        action: Annotated[str, typer.Argument(help="add, list or remove.", metavar="ACTION")],
        name: Annotated[
            str | None,
            typer.Argument(
                help="The name of the key, for add and remove.", metavar="NAME", show_default=False
            ),
        ] = None,
    ) -> None:
        """Manage the API keys: add one (shown once), list names, remove one. No restart needed."""
        for line in change_keys(session, action, name, session.settings.keys_file):
            session.print_line(line)


def change_keys(session: Session, action: str, name: str | None, path: Path) -> list[str]:
    """Do it; returns the lines for stdout: the new key, or a line per key. Notes go to stderr.

    Raises UseCaseError for an unknown action or a name too many or too few, ClosedLoopError when
    the file cannot be read or written.
    """
    from closedloop.operations.api_keys import add_key, read_keys, remove_key

    if action not in ACTIONS:
        raise UseCaseError(
            where="closedloop key", wanted=", ".join(ACTIONS), got=action, then="choose one of them"
        )
    if (name is None) is not (action == "list"):
        raise UseCaseError(
            where=f"closedloop key {action}",
            wanted="no name" if name else "the name of a key",
            got=name or "none",
            then="leave it out" if name else f"type: closedloop key {action} NAME",
        )
    if name is None:
        return [f"{key.name}  added {key.added}" for key in read_keys(path)]
    if action == "remove":
        left = remove_key(path, name)
        locked = "" if left else ": a running API now refuses every request"
        _note(session, f"removed {name}, {left} left in {path}{locked}")
        return []
    key = add_key(path, name)
    _note(
        session,
        f"the key of {name}, shown only now ({path} keeps its hash); send it as: "
        "Authorization: Bearer KEY",
    )
    return [key]


def _note(session: Session, sentence: str) -> None:
    session.progress.print(sentence, soft_wrap=True, highlight=False, markup=False)
