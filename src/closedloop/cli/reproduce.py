"""`closedloop reproduce`: fit a version again and prove that its scores are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import name_some

if TYPE_CHECKING:
    from closedloop.turn.reproduce import Reproduction

NOT_PROVED = 20
_NAMED = 5  # of the differences; there may be a window a day


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop reproduce 3")
    def reproduce(
        version: Annotated[
            int,
            typer.Argument(help="The version to fit again, from: closedloop status", metavar="N"),
        ],
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Fit a version again on its own rows; prove that its scores are the same.

        Exits with 0 if they are, with 20 if not. Nothing is registered or moved.
        """
        loop = session.open_loop(use_case)
        with session.working(f"fitting version {version} again ..."):
            from closedloop.turn.reproduce import reproduce as fit_again

            found = fit_again(loop, version)
        session.show(as_json, found.as_json(), lambda: _show(session, found))
        if not found.proved:
            raise typer.Exit(NOT_PROVED)


def _show(session: Session, found: Reproduction) -> None:
    what = f"version {found.version} ({found.recipe}, {len(found.windows)} windows)"
    if found.proved:
        session.print_line(
            f"{what} is reproduced: the largest difference of a score on {found.rows} rows is "
            f"{found.largest_difference:.3g}, {found.tolerance:g} is allowed"
        )
    else:
        session.print_line(f"{what} is not reproduced: " + name_some(found.differences, _NAMED))
    for other in found.others:
        session.print_line(f"note: {other}")
