"""`closedloop predict`: score a table with the production model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop predict customers.csv scores.parquet")
    def predict(
        table: Annotated[
            Path,
            typer.Argument(metavar="IN", help="A CSV or Parquet file with the feature columns."),
        ],
        out: Annotated[
            Path,
            typer.Argument(
                metavar="OUT", help="The .csv or .parquet file to write; replaced if it exists."
            ),
        ],
        use_case: UseCasePath = None,
        keep_columns: Annotated[
            bool,
            typer.Option(
                "--keep-columns", help="Write all columns of IN, unchanged, before the scores."
            ),
        ] = False,
        quote_formulas: Annotated[
            bool,
            typer.Option(
                "--quote-formulas",
                help="Write ' before texts that a spreadsheet would run, such as =1+1.",
            ),
        ] = False,
        explain: Annotated[
            bool,
            typer.Option(
                "--explain",
                help="Write what each column adds to the score (docs/explain.md).",
            ),
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Score a table of any size with the production model.

        OUT has the key of each row or, without a key, its number from 1 as column row; then
        prediction, probability_CLASS of each class, and version; with --explain also
        explain.base and explain.COLUMN of each column, whose sum is the log odds of the second of
        two classes (of more: explain.CLASS.base and so on, the scores before softmax).
        """
        loop = session.open_loop(use_case)
        from closedloop.cli.progress_bar import show_progress
        from closedloop.cli.score_table import predict_table

        with show_progress(session.progress, f"scoring {table}") as report:
            scored = predict_table(
                loop,
                table,
                out,
                report,
                keep_columns=keep_columns,
                quote_formulas=quote_formulas,
                explain=explain,
                writing=session.users_files,
            )
        if as_json:
            session.print_json(
                {
                    "rows": scored.rows,
                    "version": scored.version,
                    "out": str(out),
                    "warnings": [str(violation) for violation in scored.violations],
                    "explained": None if scored.explained is None else asdict(scored.explained),
                }
            )
            return
        for violation in scored.violations:
            session.warn(f"{table} breaks the contract, do not trust its scores: {violation}")
        session.print_line(f"scored {scored.rows} rows with version {scored.version}: {out}")
        if scored.explained is not None and scored.explained.largest_error is not None:
            session.print_line(
                f"contributions are estimates from {scored.explained.evaluations} scores a row; "
                f"largest standard error {scored.explained.largest_error:.2g}"
            )
