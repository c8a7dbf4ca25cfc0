"""`closedloop card`: the model card of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.options import UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop card 3 --out card.html")
    def card(
        version: Annotated[
            int, typer.Argument(help="The version, from: closedloop status", metavar="VERSION")
        ],
        use_case: UseCasePath = None,
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                help="Write it there instead of printing it: as HTML when the name ends in .html.",
                show_default=False,
            ),
        ] = None,
    ) -> None:
        """Print the model card of a version as Markdown, as of now."""
        loop = session.open_loop(use_case)
        with session.working("reading the version ..."):
            from closedloop.turn.card import read_card
            from closedloop.turn.card_page import write_html, write_markdown

            page = read_card(loop, version)
        if out is None:
            session.print_line(write_markdown(page))
            return
        text = write_html(page) if out.suffix == ".html" else write_markdown(page)
        try:
            with session.users_files():
                out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UseCaseError(
                where=f"--out {out}",
                wanted="a file that can be written",
                got=str(error),
                then="name another",
            ) from error
        session.print_line(f"wrote {out}")
