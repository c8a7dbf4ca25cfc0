"""The command line: `closedloop COMMAND`. It chooses nothing and judges nothing; it opens a use
case and shows what came of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from closedloop.cli.options import (
    AsJson,
    BackTo,
    FirstWindows,
    InTable,
    LabelDelay,
    Learners,
    Newest,
    OutFolder,
    OutTable,
    Policies,
    RowSource,
    UseCasePath,
    WindowName,
    WithFaults,
)
from closedloop.cli.output import app, console, print_json, progress, show, tell
from closedloop.errors import ClosedLoopError


def main() -> None:
    """The command `closedloop`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; a mistake ends in one sentence on stderr and the
    code of its kind.

    With CLOSEDLOOP_DEBUG set, what went wrong is raised instead, with its traceback.
    """
    try:
        app(list(arguments), prog_name="closedloop")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except ClosedLoopError as error:
        if os.environ.get("CLOSEDLOOP_DEBUG"):
            raise
        return _say(str(error), error.exit_code)
    except Exception as error:
        if os.environ.get("CLOSEDLOOP_DEBUG"):
            raise
        return _say(
            f"unexpected {type(error).__name__}: {error}: set CLOSEDLOOP_DEBUG=1 to see where, and run: closedloop doctor",
            1,
        )
    return 0


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"closedloop: {' '.join(sentence.split())}\n")
    return code


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        tell(f"closedloop {version('closedloop')}")
        raise typer.Exit


@app.callback()
def prepare(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_say_version),
    ] = False,
) -> None:
    """Before any command: what the libraries have to find in the environment."""
    from closedloop.cli.start import prepare_environment

    prepare_environment()


@app.command(epilog="Example: closedloop demo")
def demo(
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove what earlier demos left.")
    ] = False,
) -> None:
    """Play seven months of a subscription business and watch the loop turn."""
    from closedloop.cli import demo as cli_demo

    if forget:
        cli_demo.forget_demo(console)
    else:
        cli_demo.play_demo(console)


@app.command(
    epilog="Example: closedloop init sales.parquet --target returned --window-column month --out loop.toml"
)
def init(
    table: Annotated[Path, typer.Argument(help="A CSV or Parquet file.", metavar="TABLE")],
    target: Annotated[str, typer.Option("--target", help="The column to predict.")],
    key: Annotated[str | None, typer.Option("--key", help="The column that names a row.")] = None,
    window_column: Annotated[
        str | None,
        typer.Option("--window-column", help="The column that puts rows into windows of time."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where to write.")] = Path("loop.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Look at a table and write a commented loop.toml for it."""
    from closedloop.cli.init import tell_use_case, write_use_case

    with progress.status(f"looking at {table} ..."):
        use_case = write_use_case(
            table, target, out, key=key, window_column=window_column, force=force
        )
    tell(tell_use_case(use_case, out))


@app.command(epilog="Example: closedloop generate --months 7")
def generate(
    use_case: UseCasePath = None,
    months: Annotated[int, typer.Option("--months", min=1, help="How many windows.")] = 7,
) -> None:
    """Write the built-in data of a use case that has a generator."""
    from closedloop.cli.init import generate_data

    tell(generate_data(progress, use_case, months))


@app.command(epilog="Example: closedloop monitor --window month_001")
def monitor(
    use_case: UseCasePath = None,
    window: WindowName = None,
    source: RowSource = "windows",
    as_json: AsJson = False,
) -> None:
    """Look at a window, decide, and act: the loop turns once."""
    _turn("monitor", use_case, window, source, as_json)


@app.command(epilog="Example: closedloop train --use-case data/iris")
def train(
    use_case: UseCasePath = None,
    window: WindowName = None,
    source: RowSource = "windows",
    as_json: AsJson = False,
) -> None:
    """Train a candidate now, compare it on the same rows, and promote it if it proves itself."""
    _turn("train", use_case, window, source, as_json)


def _turn(
    what: Literal["monitor", "train"],
    path: Path | None,
    window: str | None,
    source: str,
    as_json: bool,
) -> None:
    from closedloop.cli.turn import take_turn

    loop, entries = take_turn(progress, what, path, window, source)
    if as_json:
        print_json({**entries[0].as_json(), "led_to": [one.as_json() for one in entries[1:]]})
        return
    from closedloop.cli import show as cli_show

    for one in entries:
        cli_show.show_decision(console, one, report=cli_show.report_link(loop, one))


@app.command(epilog="Example: closedloop status --json")
def status(use_case: UseCasePath = None, as_json: AsJson = False) -> None:
    """What is live, what it replaced, every version, and what is left undone."""
    with progress.status("asking the registry ..."):
        from closedloop.cli import show as cli_show
        from closedloop.turn.open import open_loop

        facts = cli_show.read_status(open_loop(use_case))
    show(as_json, facts, lambda: cli_show.show_status(console, facts))


@app.command(epilog="Example: closedloop history --last 5")
def history(use_case: UseCasePath = None, as_json: AsJson = False, last: Newest = None) -> None:
    """The journal: every decision, oldest first."""
    from closedloop.cli import show as cli_show
    from closedloop.turn.open import open_loop

    loop = open_loop(use_case)
    entries = loop.journal.history(loop.use_case.name)[-(last or 0) :]
    show(
        as_json, [one.as_json() for one in entries], lambda: cli_show.show_history(console, entries)
    )


@app.command(epilog="Example: closedloop why 7")
def why(
    decision: Annotated[
        int,
        typer.Argument(help="The id of a decision, from: closedloop history", metavar="DECISION"),
    ],
    use_case: UseCasePath = None,
    as_json: AsJson = False,
) -> None:
    """Every check behind a decision, and what came of it."""
    from closedloop.cli import show as cli_show
    from closedloop.turn.open import open_loop

    loop = open_loop(use_case)
    entry = loop.journal.entry(decision)
    _show_entry(entry, as_json, report=cli_show.report_link(loop, entry), every_check=True)


@app.command(epilog="Example: closedloop promote 3")
def promote(
    version: Annotated[
        int,
        typer.Argument(help="The version to make production, from: closedloop status", metavar="N"),
    ],
    use_case: UseCasePath = None,
    as_json: AsJson = False,
) -> None:
    """Make a version production because you say so; the journal notes it."""
    with progress.status(f"promoting version {version} ..."):
        from closedloop.turn.carry_out import promote_by_hand
        from closedloop.turn.open import open_loop

        entry = promote_by_hand(open_loop(use_case), version)
    _show_entry(entry, as_json)


@app.command(epilog="Example: closedloop rollback --to 2")
def rollback(use_case: UseCasePath = None, to: BackTo = None, as_json: AsJson = False) -> None:
    """Go back to the version that production replaced, or to any other."""
    with progress.status("rolling back ..."):
        from closedloop.turn.carry_out import roll_back_by_hand
        from closedloop.turn.open import open_loop

        entry = roll_back_by_hand(open_loop(use_case), to)
    _show_entry(entry, as_json)


def _show_entry(entry: Any, as_json: bool, **shown: Any) -> None:
    from closedloop.cli import show as cli_show

    show(as_json, entry.as_json(), lambda: cli_show.show_decision(console, entry, **shown))


@app.command(epilog="Example: closedloop predict customers.csv scores.parquet")
def predict(
    table: InTable, out: OutTable, use_case: UseCasePath = None, as_json: AsJson = False
) -> None:
    """Score a table with the production model."""
    with progress.status("reading the use case ..."):
        from closedloop.cli.predict import predict_table, show_progress
        from closedloop.turn.open import open_loop

        loop = open_loop(use_case)
    with show_progress(progress, f"scoring {table}") as report:
        scored = predict_table(loop, table, out, report)
    if as_json:
        print_json(
            {
                "rows": scored.rows,
                "version": scored.version,
                "out": str(out),
                "warnings": [str(one) for one in scored.violations],
            }
        )
        return
    for violation in scored.violations:
        _say(f"{table} breaks the contract, its answers are worth little: {violation}", 0)
    tell(f"scored {scored.rows} rows with version {scored.version}: {out}")


@app.command(epilog="Example: closedloop backtest --policy loop --policy every-4 --label-delay 1")
def backtest(
    use_case: UseCasePath = None,
    policies: Policies = None,
    delay: LabelDelay = None,
    first: FirstWindows = 3,
    learners: Learners = None,
    faults: WithFaults = False,
    out: OutFolder = None,
    as_json: AsJson = False,
) -> None:
    """Live history again under several policies: what each would have cost, and what it would have
    gained."""
    with progress.status("reading the use case ..."):
        from closedloop.cli import backtest as cli_backtest
        from closedloop.turn.open import open_loop

        loop = open_loop(use_case)
    found, page = cli_backtest.replay_history(
        loop,
        progress,
        policies,
        delay=delay,
        first=first,
        learners=learners,
        faults=faults,
        out=out,
    )
    if as_json:
        tell("\n".join(json.dumps(one) for one in cli_backtest.list_figures(found)))
        return
    cli_backtest.show_figures(console, found)
    tell(f"every round, drawn: {page}")
    tell(cli_backtest.recommend(found.figures))


from closedloop.cli import operating as cli_operating  # noqa: E402, F401  # its commands come after those above
