"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.errors import UseCaseError


def _check_row_source(source: str) -> str:
    if source not in ("windows", "records"):
        raise UseCaseError(
            where="--source", wanted="windows or records", got=source, then="choose one of the two"
        )
    return source


UseCasePath = Annotated[
    Path | None,
    typer.Option(
        "--use-case",
        help="A loop.toml, or its folder.",
        show_default="CLOSEDLOOP_USE_CASE, else data/streamflow/loop.toml",
    ),
]
UseCasePaths = Annotated[
    Path | None,
    typer.Option(
        "--use-case",
        help="A loop.toml, or its folder.",
        show_default="CLOSEDLOOP_USE_CASES, else CLOSEDLOOP_USE_CASE, else "
        "data/streamflow/loop.toml",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ExitCode = Annotated[
    bool,
    typer.Option(
        "--exit-code",
        help="Exit with 0 if production was kept, 10 if a candidate was promoted, 11 rejected, "
        "12 if a person is called, 13 after a rollback, 14 if it is not carried out yet, 15 if it "
        "waits for a person.",
    ),
]
WindowName = Annotated[
    str | None, typer.Option("--window", help="The window to look at.", show_default="the newest")
]
RowSource = Annotated[
    str,
    typer.Option(
        "--source",
        callback=_check_row_source,
        help="windows: the source in loop.toml; records: followed by the answers the API recorded.",
    ),
]
Newest = Annotated[
    int | None, typer.Option("--last", min=1, help="Only the newest N.", show_default="all")
]
BackTo = Annotated[
    int | None, typer.Option("--to", help="The version to go back to.", show_default="previous")
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="WHY", help="Why, in a sentence; the journal keeps it with your name."
    ),
]
Why = Annotated[
    str,
    typer.Option(
        "--reason", metavar="WHY", help="Why, in a sentence; the journal keeps it with your name."
    ),
]
WaitingDecision = Annotated[
    int,
    typer.Argument(
        help="The id of a decision that waits, from: closedloop status", metavar="DECISION"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; do nothing.")]
