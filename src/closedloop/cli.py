"""The command line: `closedloop COMMAND`. It chooses nothing and judges nothing; it opens a use case and shows what came of it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from closedloop.cli_options import (
    AsJson,
    BackTo,
    Cron,
    FirstWindows,
    Host,
    InTable,
    LabelDelay,
    Learners,
    Newest,
    OnlyCheck,
    OutFolder,
    OutTable,
    Policies,
    Port,
    RowSource,
    UseCasePath,
    WindowName,
    WithFaults,
    Workers,
)
from closedloop.errors import ClosedLoopError

app = typer.Typer(
    name="closedloop", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="A self-hosted closed loop for tabular classifiers: watch, retrain, prove, promote, serve, go back.",
    epilog="New here? closedloop demo. Your own table: closedloop init TABLE --target COLUMN. Something is wrong: closedloop doctor",
)  # fmt: skip
console = Console()
# What a command is busy with is nobody's result: it goes where a pipe does not read.
progress = Console(stderr=True)


def main() -> None:
    """The command `closedloop`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; a mistake ends in one sentence on stderr and the code of its kind.

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
        return _say(f"unexpected {type(error).__name__}: {error}: set CLOSEDLOOP_DEBUG=1 to see where, and run: closedloop doctor", 1)
    return 0


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"closedloop: {' '.join(sentence.split())}\n")
    return code


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        _tell(f"closedloop {version('closedloop')}")
        raise typer.Exit


@app.callback()
def prepare(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_say_version)] = False,
) -> None:
    """Before any command: what the libraries have to find in the environment."""
    from closedloop.cli_start import prepare_environment

    prepare_environment()


def _print_json(content: Any) -> None:
    # Not through rich: a program reads this, whatever the width of the terminal.
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def _show(as_json: bool, content: Any, show: Callable[[], object]) -> None:
    _print_json(content) if as_json else show()


@app.command(epilog="Example: closedloop demo --timings")
def demo(
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time went.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Remove what earlier demos left.")] = False,
) -> None:
    """Play seven months of a subscription business and watch the loop turn."""
    from closedloop.timings import STOPWATCH

    began = time.perf_counter()
    with STOPWATCH.measure("start-up"):
        from closedloop import cli_demo

    if forget:
        cli_demo.forget_demo(console)
    else:
        cli_demo.play_demo(console, timings=timings, began=began)


@app.command(epilog="Example: closedloop init sales.parquet --target returned --window-column month --out loop.toml")
def init(
    table: Annotated[Path, typer.Argument(help="A CSV or Parquet file.", metavar="TABLE")],
    target: Annotated[str, typer.Option("--target", help="The column to predict.")],
    key: Annotated[str | None, typer.Option("--key", help="The column that names a row.")] = None,
    window_column: Annotated[str | None, typer.Option("--window-column", help="The column that puts rows into windows of time.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Where to write.")] = Path("loop.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Look at a table and write a commented loop.toml for it."""
    from closedloop.cli_init import write_use_case

    with progress.status(f"looking at {table} ..."):
        use_case = write_use_case(table, target, out, key=key, window_column=window_column, force=force)
    columns, classes = len(use_case.columns), ", ".join(use_case.target.classes)
    _tell(f"wrote {out}: {columns} features, target {use_case.target.column} with classes {classes}")
    _tell(f"next: read it, correct what was guessed, then: closedloop doctor --use-case {out}; closedloop monitor --use-case {out}")


def _tell(sentence: str) -> None:
    # A line that may be copied or read by a program is not broken at the width of the terminal.
    sys.stdout.write(sentence + "\n")


@app.command(epilog="Example: closedloop generate --months 7")
def generate(use_case: UseCasePath = None, months: Annotated[int, typer.Option("--months", min=1, help="How many windows.")] = 7) -> None:
    """Write the built-in data of a use case that has a generator."""
    with progress.status(f"writing {months} windows ..."):
        from closedloop.cli_generate import generate_data

        written = generate_data(use_case, months)
    _tell(f"wrote {', '.join(written)}" if written else "every window is there already")


@app.command(epilog="Example: closedloop monitor --window month_001")
def monitor(use_case: UseCasePath = None, window: WindowName = None, source: RowSource = "windows", as_json: AsJson = False) -> None:
    """Look at a window, decide, and act: the loop turns once."""
    _turn("monitor", use_case, window, source, as_json)


@app.command(epilog="Example: closedloop train --use-case data/iris")
def train(use_case: UseCasePath = None, window: WindowName = None, source: RowSource = "windows", as_json: AsJson = False) -> None:
    """Train a candidate now, compare it on the same rows, and promote it if it proves itself."""
    _turn("train", use_case, window, source, as_json)


def _turn(what: Literal["monitor", "train"], path: Path | None, window: str | None, source: str, as_json: bool) -> None:
    from closedloop.cli_turn import take_turn

    loop, entries = take_turn(progress, what, path, window, source)
    if as_json:
        _print_json({**entries[0].as_json(), "led_to": [one.as_json() for one in entries[1:]]})
        return
    from closedloop import cli_show

    for one in entries:
        cli_show.show_decision(console, one, report=cli_show.report_link(loop, one))


@app.command(epilog="Example: closedloop status --json")
def status(use_case: UseCasePath = None, as_json: AsJson = False) -> None:
    """What is live, what it replaced, every version, and what is left undone."""
    with progress.status("asking the registry ..."):
        from closedloop import cli_show
        from closedloop.loop import open_loop

        facts = cli_show.read_status(open_loop(use_case))
    _show(as_json, facts, lambda: cli_show.show_status(console, facts))


@app.command(epilog="Example: closedloop history --last 5")
def history(use_case: UseCasePath = None, as_json: AsJson = False, last: Newest = None) -> None:
    """The journal: every decision, oldest first."""
    from closedloop import cli_show
    from closedloop.loop import open_loop

    loop = open_loop(use_case)
    entries = loop.journal.history(loop.use_case.name)[-(last or 0) :]
    _show(as_json, [one.as_json() for one in entries], lambda: cli_show.show_history(console, entries))


@app.command(epilog="Example: closedloop why 7")
def why(
    decision: Annotated[int, typer.Argument(help="The id of a decision, from: closedloop history", metavar="DECISION")],
    use_case: UseCasePath = None,
    as_json: AsJson = False,
) -> None:
    """Every check behind a decision, and what came of it."""
    from closedloop import cli_show
    from closedloop.loop import open_loop

    loop = open_loop(use_case)
    entry = loop.journal.entry(decision)
    link = cli_show.report_link(loop, entry)
    _show(as_json, entry.as_json(), lambda: cli_show.show_decision(console, entry, report=link, every_check=True))


@app.command(epilog="Example: closedloop promote 3")
def promote(
    version: Annotated[int, typer.Argument(help="The version to make production, from: closedloop status", metavar="N")],
    use_case: UseCasePath = None,
    as_json: AsJson = False,
) -> None:
    """Make a version production because you say so; the journal notes it."""
    with progress.status(f"promoting version {version} ..."):
        from closedloop.actions import promote_by_hand
        from closedloop.loop import open_loop

        entry = promote_by_hand(open_loop(use_case), version)
    _show_moved(entry, as_json)


@app.command(epilog="Example: closedloop rollback --to 2")
def rollback(use_case: UseCasePath = None, to: BackTo = None, as_json: AsJson = False) -> None:
    """Go back to the version that production replaced, or to any other."""
    with progress.status("rolling back ..."):
        from closedloop.actions import roll_back_by_hand
        from closedloop.loop import open_loop

        entry = roll_back_by_hand(open_loop(use_case), to)
    _show_moved(entry, as_json)


def _show_moved(entry: Any, as_json: bool) -> None:
    from closedloop import cli_show

    _show(as_json, entry.as_json(), lambda: cli_show.show_decision(console, entry))


@app.command(epilog="Example: closedloop predict customers.csv scores.parquet")
def predict(table: InTable, out: OutTable, use_case: UseCasePath = None, as_json: AsJson = False) -> None:
    """Score a table with the production model."""
    with progress.status("reading the use case ..."):
        from closedloop.cli_predict import predict_table, show_progress
        from closedloop.loop import open_loop

        loop = open_loop(use_case)
    with show_progress(progress, f"scoring {table}") as report:
        scored = predict_table(loop, table, out, report)
    if as_json:
        _print_json({"rows": scored.rows, "version": scored.version, "out": str(out), "warnings": [str(one) for one in scored.violations]})
        return
    for violation in scored.violations:
        _say(f"{table} breaks the contract, its answers are worth little: {violation}", 0)
    _tell(f"scored {scored.rows} rows with version {scored.version}: {out}")


@app.command(epilog="Example: closedloop backtest --policy loop --policy every-4 --label-delay 1")
def backtest(
    use_case: UseCasePath = None, policies: Policies = None, delay: LabelDelay = None, first: FirstWindows = 3, learners: Learners = None,
    faults: WithFaults = False, out: OutFolder = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Live history again under several policies: what each would have cost, and what it would have gained."""
    with progress.status("reading the use case ..."):
        from closedloop import cli_backtest
        from closedloop.loop import open_loop

        loop = open_loop(use_case)
    found, page = cli_backtest.replay_history(loop, progress, policies, delay=delay, first=first, learners=learners, faults=faults, out=out)
    if as_json:
        _tell("\n".join(json.dumps(one) for one in cli_backtest.list_figures(found)))
        return
    cli_backtest.show_figures(console, found)
    _tell(f"every round, drawn: {page}")
    _tell(cli_backtest.recommend(found.figures))


@app.command(epilog="Example: closedloop serve --port 8080 --workers 2")
def serve(use_case: UseCasePath = None, host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Answer predictions over HTTP, following production without a restart."""
    from closedloop.cli_serve import prepare_service

    answer = prepare_service(use_case, host, port, workers)
    answer()


@app.command(epilog="Example: closedloop up")
def up(use_case: UseCasePath = None, every: Cron = "0 6 * * *") -> None:
    """MLflow UI, Prefect server with the scheduled deployments, and the API, until Ctrl-C."""
    with progress.status("reading the use case ..."):
        from closedloop.cli_up import run_everything
        from closedloop.loop import open_loop

        loop = open_loop(use_case)
    run_everything(console, progress, loop, every)


@app.command(epilog="Example: closedloop key add web-shop")
def key(
    action: Annotated[str, typer.Argument(help="add, list or remove.", metavar="ACTION")],
    name: Annotated[str | None, typer.Argument(help="Whose key, for add and remove.", metavar="NAME", show_default=False)] = None,
) -> None:
    """Who may ask the API: add a key (shown once), list their names, or remove one; a running API notices."""
    from closedloop.cli_key import change_keys
    from closedloop.settings import Settings

    for line in change_keys(action, name, Settings().keys_file, progress):
        _tell(line)


@app.command(epilog="Example: closedloop upgrade --check")
def upgrade(check: OnlyCheck = False, as_json: AsJson = False) -> None:
    """Bring the tables of journal and records to what this version of closedloop wants, or make them."""
    from closedloop.cli_upgrade import tell_upgrade, upgrade_database

    facts = upgrade_database(check=check)
    _show(as_json, facts, lambda: _tell(tell_upgrade(facts, check=check)))
    if check and facts["needed"]:
        raise typer.Exit(1)


@app.command(epilog="Example: closedloop doctor")
def doctor(use_case: UseCasePath = None, as_json: AsJson = False) -> None:
    """Find what is wrong with an installation, a use case or a loop that stopped turning."""
    with progress.status("looking at everything ..."):
        from closedloop import cli_show
        from closedloop.cli_doctor import examine

        findings = examine(use_case)
    facts = [{"check": one.check, "ok": one.ok, "found": one.found, "next": one.then} for one in findings]
    _show(as_json, facts, lambda: cli_show.show_findings(console, findings))
    if not all(one.ok for one in findings):
        raise typer.Exit(1)
