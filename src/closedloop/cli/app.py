"""The command line: `closedloop COMMAND`. Each command stands in the file of its name; none decides
anything itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from closedloop.cli import (
    accept,
    alert,
    approve,
    archive,
    backtest,
    card,
    demo,
    deploy,
    doctor,
    experiment,
    export,
    forget,
    generate,
    history,
    init,
    key,
    live,
    migrate,
    monitor,
    page,
    predict,
    probation,
    promote,
    prune,
    quarantine,
    reject,
    reproduce,
    rollback,
    serve,
    shadow,
    stage,
    status,
    train,
    try_recipe,
    up,
    upgrade,
    why,
)
from closedloop.cli.quiet_threads import quiet_threads
from closedloop.cli.session import Session
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.shown_text import printable
from closedloop.storage.home import PRIVATE, making_files

# In the order in which the help lists them.
COMMANDS = (
    *(demo, init, generate),
    *(monitor, train, try_recipe, experiment, status, history, why, live, shadow, card),
    *(approve, reject, quarantine, promote, probation, rollback, accept),
    *(predict, backtest, export, reproduce, stage),
    *(serve, page, up, deploy, key, alert, upgrade, migrate, archive, prune, forget, doctor),
)

_MAY_BE_EMPTY = ("--thousands", "--quote", "--null-values")


def main(arguments: Sequence[str], environment: MutableMapping[str, str]) -> int:
    """Run one command and return its exit code; an error is one sentence on stderr.

    `environment` is that of the process: settings are read from it, and libraries find theirs in
    it. With CLOSEDLOOP_DEBUG set there, errors are raised with their traceback instead.
    """
    with making_files(PRIVATE) as users_umask:
        session = Session(environment, users_umask=users_umask)
        app = build_app(session)
        # What the service writes to stderr is its log.
        loud = session.debug or list(arguments[:1]) == ["serve"]
        with nullcontext() if loud else quiet_threads(session.find_thread_log):
            return report_errors(lambda: _run(app, arguments), debug=session.debug)


def _run(app: typer.Typer, arguments: Sequence[str]) -> object:
    """Raises UseCaseError for an argument that is empty: a variable of a script that is not set."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        option, equals, value = argument.partition("=")
        if argument == "":
            option = before
        elif not (option.startswith("--") and equals and not value):
            continue
        if option not in _MAY_BE_EMPTY:
            raise UseCaseError(
                where=option if option[:1] == "-" else "arguments",
                wanted="a value",
                got="an empty one",
                then="give one, or leave the option out",
            )
    return app(list(arguments), prog_name="closedloop")


def build_app(session: Session) -> typer.Typer:
    """The program with all its commands, which work in `session`."""
    app = typer.Typer(
        name="closedloop",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        help="Closed-loop retraining for tabular classifiers: monitor, retrain, compare, "
        "promote, serve, roll back.",
        epilog="New here? closedloop demo. Your own table: closedloop init TABLE --target "
        "COLUMN. Something is wrong: closedloop doctor",
    )

    @app.callback()
    def prepare(
        version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print the version.", is_eager=True, callback=_print_version
            ),
        ] = False,
    ) -> None:
        session.prepare_environment()

    for command in COMMANDS:
        command.add(app, session)
    return app


def report_errors(command: Callable[[], object], *, debug: bool) -> int:
    """Run it and return the exit code; unless `debug`, an error is printed instead of raised."""
    try:
        command()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception as error:
        if debug:
            raise
        code = error.exit_code if isinstance(error, ClosedLoopError) else 1
        if said := _find_full_disk(error):
            sentence = f"the disk is full: {said}: {_MAKE_ROOM}"
        elif isinstance(error, ClosedLoopError):
            sentence = str(error)
        else:
            sentence = f"unexpected {type(error).__name__}: {error}: {_NEXT}"
        sys.stderr.write(f"closedloop: {printable(' '.join(sentence.split()))}\n")
        return code
    return 0


def _find_full_disk(error: BaseException | None) -> str | None:
    """The error in a chain of causes that tells of a full disk; what is above it only followed."""
    while error is not None:
        if _FULL.search(str(error)):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


_FULL = re.compile("disk is full|No space left on device|quota exceeded", re.IGNORECASE)
_MAKE_ROOM = "free some space (closedloop prune --dry-run), then run the same command again"
_NEXT = "set CLOSEDLOOP_DEBUG=1 to see the traceback, and run: closedloop doctor"


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"closedloop {version('closedloop')}\n")
        raise typer.Exit
