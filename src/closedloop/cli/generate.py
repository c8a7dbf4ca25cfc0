"""`closedloop generate`: the synthetic data of a use case that names a generator."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop generate --months 7")
    def generate(
        use_case: UseCasePath = None,
        months: Annotated[
            int | None,
            typer.Option(
                "--months",
                help="Number of windows; usually 7 of streamflow, all 3 of iris.",
                show_default=False,
            ),
        ] = None,
    ) -> None:
        """Write the synthetic data of a use case that has a generator."""
        loop = session.open_loop(use_case)
        generator = loop.use_case.source.generator
        if generator is None:
            raise UseCaseError(
                where=f"{loop.use_case.path}: source.generator",
                wanted="the name of a generator",
                got="none",
                then="this use case reads its own data and needs none generated",
            )
        with session.working("writing windows ..."):
            from closedloop.windows.synthetic import generate_windows, write_generated

            with session.users_files():
                written = write_generated(
                    loop.use_case, loop.settings.data, generate_windows(generator, months)
                )
        session.print_line(
            f"wrote {', '.join(written)}" if written else "nothing to do: every window exists"
        )
