"""`closedloop init`: a loop.toml for your own table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.dialect_options import (
    Decimal,
    Delimiter,
    Encoding,
    NullValues,
    Quote,
    Thousands,
    read_dialect,
)
from closedloop.cli.session import Session

_MAX_NOTES = 15


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(
        epilog="Example: closedloop init sales.parquet --target returned --window-column "
        "month --out loop.toml"
    )
    def init(
        tables: Annotated[
            list[str],
            typer.Argument(
                help="A CSV or Parquet file, a folder of them, each a window, or the SQLAlchemy "
                "address of a database.",
                metavar="TABLE...",
            ),
        ],
        target: Annotated[str, typer.Option("--target", help="The column to predict.")],
        key: Annotated[
            str | None, typer.Option("--key", help="The column that identifies a row.")
        ] = None,
        group: Annotated[
            str | None,
            typer.Option(
                "--group",
                help="The column that says which rows belong together, such as a customer.",
            ),
        ] = None,
        window_column: Annotated[
            str | None,
            typer.Option("--window-column", help="The column with the time window of a row."),
        ] = None,
        positive: Annotated[
            str | None,
            typer.Option(
                "--positive",
                help="The positive class of two, whose probability is scored.",
                metavar="CLASS",
            ),
        ] = None,
        delimiter: Delimiter = None,
        decimal: Decimal = None,
        thousands: Thousands = None,
        encoding: Encoding = None,
        quote: Quote = None,
        null_values: NullValues = None,
        time_column: Annotated[
            str | None,
            typer.Option("--time-column", help="The column with the time of a row."),
        ] = None,
        every: Annotated[
            str,
            typer.Option(
                help="The length of a window of --time-column: hour, day, week or month.",
                metavar="PERIOD",
            ),
        ] = "month",
        timezone: Annotated[
            str,
            typer.Option(
                help="The clock that these windows begin by, such as Europe/Berlin.",
                metavar="ZONE",
            ),
        ] = "UTC",
        date_format: Annotated[
            str | None,
            typer.Option(
                "--date-format",
                help="How --time-column is written, such as '%d.%m.%Y %H:%M'; found if left out.",
                metavar="FORMAT",
            ),
        ] = None,
        query: Annotated[
            str | None,
            typer.Option("--query", help="The rows of a database, in its SQL.", metavar="SQL"),
        ] = None,
        table: Annotated[
            str | None,
            typer.Option(
                "--table", help="Short for a --query of all rows of a table.", metavar="NAME"
            ),
        ] = None,
        name: Annotated[
            str | None,
            typer.Option("--name", help="The name of the use case.", metavar="NAME"),
        ] = None,
        out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("loop.toml"),
        force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    ) -> None:
        """Read a table and write a commented loop.toml for it."""
        with session.working("reading the table ..."):
            from closedloop.cli.draft.windows import TimeOptions
            from closedloop.cli.draft.write_use_case import Asked, write_use_case

            dialect = read_dialect(
                delimiter=delimiter,
                decimal=decimal,
                thousands=thousands,
                encoding=encoding,
                quote=quote,
                null_values=null_values,
            )
            asked = Asked(
                target,
                out,
                key=key,
                group=group,
                window_column=window_column,
                positive=positive,
                dialect=dialect,
                times=TimeOptions(time_column, every, timezone, date_format),
                name=name,
                query=query,
                table=table,
                force=force,
            )
            with session.users_files():
                use_case, notes = write_use_case(tables, asked)
        classes = ", ".join(use_case.target.classes)
        session.print_line(
            f"wrote {out}: {len(use_case.columns)} features, target "
            f"{use_case.target.column} with classes {classes}"
        )
        for note in notes[:_MAX_NOTES]:
            session.print_line(f"  {note}")
        if len(notes) > _MAX_NOTES:
            session.print_line(f"  and {len(notes) - _MAX_NOTES} more: see the comments in {out}")
        session.print_line(
            f"next: check the guesses in it, then run: closedloop doctor --use-case {out}; "
            f"closedloop monitor --use-case {out}"
        )
