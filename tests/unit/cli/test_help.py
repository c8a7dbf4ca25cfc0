"""The help that a newcomer reads: every command has an example that the command itself accepts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from closedloop.cli.app import build_app, main
from closedloop.cli.session import Session

GROUP = get_command(build_app(Session({})))
COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]
PROMISED = {
    "demo",
    "init",
    "doctor",
    "monitor",
    "train",
    "try",
    "experiment",
    "status",
    "history",
    "why",
    "approve",
    "reject",
    "shadow",
    "live",
    "promote",
    "rollback",
    "predict",
    "backtest",
    "export",
    "reproduce",
    "serve",
    "page",
    "key",
    "alert",
    "up",
    "deploy",
    "upgrade",
    "migrate",
    "archive",
    "prune",
    "forget",
}
FOR_PROGRAMS = {
    "doctor",
    "monitor",
    "train",
    "try",
    "experiment",
    "status",
    "history",
    "why",
    "shadow",
    "live",
    "approve",
    "reject",
    "quarantine",
    "promote",
    "accept",
    "probation",
    "rollback",
    "predict",
    "backtest",
    "export",
    "reproduce",
    "alert",
    "upgrade",
    "migrate",
    "archive",
    "prune",
    "forget",
}
ON_A_USE_CASE = set(COMMANDS) - {"demo", "init", "key", "upgrade", "deploy"}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command sets in the environment ends with the test."""
    before = dict(os.environ)
    monkeypatch.setenv("COLUMNS", "120")
    yield
    os.environ.clear()
    os.environ.update(before)


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a command in one line."""
    assert main([name, "--help"], os.environ) == 0
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_every_promised_command_exists() -> None:
    """Nothing that the documents promise is missing from the command line."""
    assert set(COMMANDS) >= PROMISED


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_works(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in the help names its own command, with arguments and options that this command
    takes."""
    example = re.search(r"Example: (closedloop .+)$", shown(name, capsys))
    assert example is not None, (
        f"closedloop {name} --help shows no example: give the command an epilog"
    )
    program, said, *arguments = shlex.split(example[1])
    assert (program, said) == ("closedloop", name)
    with GROUP.commands[name].make_context(name, arguments):  # type: ignore[attr-defined]
        pass


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_every_option_is_for(name: str) -> None:
    """No argument or option is shown without a word on what it does."""
    silent = [
        option.name
        for option in GROUP.commands[name].params
        if not getattr(option, "help", None) and option.name != "help"
    ]  # type: ignore[attr-defined]
    assert silent == []


def test_use_case_and_json_are_offered_alike_everywhere() -> None:
    """--use-case is an option of every command that works on one, --json of every command that a
    program may read."""
    options = {
        name: {word for option in command.params for word in option.opts}
        for name, command in GROUP.commands.items()
    }  # type: ignore[attr-defined]
    assert {name for name, words in options.items() if "--use-case" in words} == ON_A_USE_CASE
    assert {name for name, words in options.items() if "--json" in words} == FOR_PROGRAMS


def test_the_default_use_case_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the help knows which use case is taken when none is named."""
    assert "CLOSEDLOOP_USE_CASE, else data/streamflow/loop.toml" in shown("status", capsys)


def test_alone_it_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`closedloop` alone lists every command, does nothing, and exits like a usage error."""
    assert main([], os.environ) == 2
    said = "".join(capsys.readouterr())
    assert all(f" {name} " in said for name in COMMANDS)


def test_help_needs_no_sound_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in the environment does not keep anyone from reading the help."""
    monkeypatch.setenv("CLOSEDLOOP_PORT", "none")
    assert main(["--help"], os.environ) == 0
    assert "doctor" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the name and the version, and nothing else."""
    assert main(["--version"], os.environ) == 0
    assert re.fullmatch(r"closedloop \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_help_does_not_wait_for_the_libraries(tmp_path: Path) -> None:
    """The help of every command is printed without loading any of the slow libraries."""
    slow = [
        "mlflow",
        "prefect",
        "evidently",
        "sklearn",
        "pandas",
        "numpy",
        "fastapi",
        "sqlalchemy",
        "lightgbm",
        "duckdb",
    ]
    script = (
        "import os, sys; from closedloop.cli.app import main; "
        f"codes = [main([name, '--help'], os.environ) for name in {COMMANDS!r}]; "
        f"print(codes.count(0), [name for name in {slow!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"{len(COMMANDS)} []"
    assert list(tmp_path.iterdir()) == []
