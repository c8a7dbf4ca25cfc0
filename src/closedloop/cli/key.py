"""`closedloop key`: who may call the API, and who may read the page or act on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.cli.session import Session
from closedloop.errors import UseCaseError

if TYPE_CHECKING:
    from closedloop.operations.api_keys import ApiKey

ACTIONS = ("add", "list", "remove")
_SEND = "send it as: Authorization: Bearer KEY"


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
        role: Annotated[
            str | None,
            typer.Option(
                "--role",
                help="With add: client asks for predictions and sends labels, viewer reads the "
                "page, operator may do everything.",
                metavar="ROLE",
                show_default="client",
            ),
        ] = None,
        use_cases: Annotated[
            list[str] | None,
            typer.Option(
                "--for",
                help="With add: the name of a use case that the key is for; may be repeated.",
                metavar="NAME",
                show_default="all",
            ),
        ] = None,
    ) -> None:
        """Manage the API keys: add one (shown once), list them, remove one. No restart needed."""
        path = session.settings.keys_file
        for line in change_keys(session, action, name, path, role, use_cases or ()):
            session.print_line(line)


def change_keys(
    session: Session,
    action: str,
    name: str | None,
    path: Path,
    role: str | None = None,
    use_cases: Sequence[str] = (),
) -> list[str]:
    """Do it; returns the lines for stdout: the new key, or a line per key. Notes go to stderr.

    Raises UseCaseError for an unknown action, a name too many or too few or a role that is not
    wanted, ClosedLoopError for an unknown role or when the file cannot be read or written.
    """
    from closedloop.operations.api_keys import Role, add_key, read_keys, read_role, remove_key

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
    for what, given in (("role", role), ("use case", ", ".join(use_cases) or None)):
        if given is not None and action != "add":
            raise UseCaseError(
                where=f"closedloop key {action}",
                wanted=f"no {what}",
                got=given,
                then=f"leave it out: a key keeps the {what} that it was added with",
            )
    if name is None:
        return [_describe(key) for key in read_keys(path)]
    if action == "remove":
        left = remove_key(path, name)
        locked = "" if left else ": a running API now refuses every request"
        _note(session, f"removed {name}, {left} left in {path}{locked}")
        return []
    chosen = Role.CLIENT if role is None else read_role(role)
    key = add_key(path, name, chosen, use_cases)
    use = "to log in on the page, paste it there" if chosen is Role.VIEWER else _SEND
    if chosen is Role.OPERATOR:
        use = f"to log in on the page, paste it there; to the API, {_SEND}"
    only = f" for {', '.join(use_cases)}" if use_cases else ""
    _note(
        session, f"the {chosen} key of {name}{only}, shown only now ({path} keeps its hash); {use}"
    )
    return [key]


def _describe(key: ApiKey) -> str:
    only = f"  for {', '.join(key.use_cases)}" if key.use_cases else ""
    return f"{key.name}  {key.role}  added {key.added}{only}"


def _note(session: Session, sentence: str) -> None:
    session.progress.print(sentence, soft_wrap=True, highlight=False, markup=False)
