"""The options that commands take, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

UseCasePath = Annotated[
    Path | None,
    typer.Option(
        "--use-case",
        help="A loop.toml, or the folder that holds it.",
        show_default="CLOSEDLOOP_USE_CASE, else data/streamflow/loop.toml",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
WindowName = Annotated[
    str | None, typer.Option("--window", help="The window to look at.", show_default="the newest")
]
RowSource = Annotated[
    str,
    typer.Option(
        "--source",
        help="windows: the use case's own source; records: the service's records follow it.",
    ),
]
Newest = Annotated[
    int | None, typer.Option("--last", min=1, help="Only the newest N.", show_default="all")
]
BackTo = Annotated[
    int | None, typer.Option("--to", help="The version to go back to.", show_default="previous")
]
InTable = Annotated[
    Path, typer.Argument(metavar="IN", help="A CSV or Parquet file with the feature columns.")
]
OutTable = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="A .csv or .parquet file to write; it replaces one of that name."
    ),
]
Host = Annotated[
    str | None,
    typer.Option("--host", help="Where to listen.", show_default="CLOSEDLOOP_HOST, else 127.0.0.1"),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", min=1, max=65535, help="Its port.", show_default="CLOSEDLOOP_PORT, else 8080"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="How many processes answer.",
        show_default="CLOSEDLOOP_WORKERS, else 1",
    ),
]
Cron = Annotated[
    str | None,
    typer.Option(
        "--cron",
        help="When to monitor: minute hour day month weekday.",
        show_default="[schedule] of loop.toml",
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="P",
        help="static, always, every-K, naive, loop (your own), or a TOML file with [policy] tables; repeatable.",
        show_default="static, always, every-2, every-4, naive, loop",
    ),
]
LabelDelay = Annotated[
    int | None,
    typer.Option(
        "--label-delay",
        min=0,
        help="How many windows labels are late.",
        show_default="as loop.toml says",
    ),
]
FirstWindows = Annotated[
    int,
    typer.Option("--first-windows", min=1, help="How many windows the first model is fitted on."),
]
Learners = Annotated[
    list[str] | None,
    typer.Option(
        "--learner",
        help="logistic or lightgbm; repeatable.",
        show_default="the recipes of loop.toml",
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Where the page and the figures go.",
        show_default="backtest/NAME under CLOSEDLOOP_HOME",
    ),
]
KeptVersions = Annotated[
    int,
    typer.Option(
        "--keep-versions", min=0, help="How many rejected and archived versions keep their files."
    ),
]
KeptReports = Annotated[
    int | None,
    typer.Option(
        "--keep-reports",
        min=0,
        help="How many drift reports stay.",
        show_default="CLOSEDLOOP_KEEP_REPORTS, else 100",
    ),
]
KeptDays = Annotated[
    int, typer.Option("--keep-days-of-records", min=0, help="Delete older records; 0: none.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
WithFaults = Annotated[
    bool,
    typer.Option(
        "--faults", help="Also put known faults into some windows: does any policy ship them?"
    ),
]
OnlyCheck = Annotated[
    bool, typer.Option("--check", help="Change nothing; exit code 1 when an upgrade is due.")
]
ToStore = Annotated[
    str | None,
    typer.Option(
        "--to-database",
        metavar="URL",
        help="The database to fill (SQLAlchemy).",
        show_default="CLOSEDLOOP_TO_DATABASE_URL",
    ),
]
ToMlflow = Annotated[
    str | None,
    typer.Option(
        "--to-mlflow",
        metavar="URL",
        help="The MLflow server to fill.",
        show_default="CLOSEDLOOP_TO_MLFLOW_URL",
    ),
]
