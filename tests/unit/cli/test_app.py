"""`main(arguments, environment)`: exit codes, and settings from the given environment."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from closedloop.cli.app import main, report_errors
from closedloop.cli.session import Session
from closedloop.errors import (
    ClosedLoopError,
    LabelConflict,
    ModelError,
    RegistryError,
    SourceError,
    StoreError,
    UseCaseError,
)
from tests.unit.cli.printed import sentence

SQL_ON_FULL_DISK = sqlite3.OperationalError("database or disk is full")
USE_CASE = Path(__file__).resolve().parents[3] / "data" / "streamflow" / "loop.toml"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a home inside it and the built-in use case."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOSEDLOOP_HOME", "home")
    monkeypatch.setenv("CLOSEDLOOP_USE_CASE", str(USE_CASE))
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    [
        ClosedLoopError,
        UseCaseError,
        SourceError,
        RegistryError,
        ModelError,
        StoreError,
        LabelConflict,
    ],
)
def test_each_kind_has_its_exit_code(
    kind: type[ClosedLoopError], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever command raises it, an error of ours leaves with the code of its kind and its own
    four parts."""

    def fail() -> None:
        raise kind(where="here", wanted="this", got="that\nin two lines", then="do so")

    assert report_errors(fail, debug=False) == kind.exit_code
    assert (
        sentence(capsys.readouterr())
        == "closedloop: here: wanted this, got that in two lines: do so\n"
    )


def test_an_unexpected_error_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of the program itself is one sentence too; CLOSEDLOOP_DEBUG raises it instead."""

    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    assert report_errors(fail, debug=Session({}).debug) == 1
    assert "CLOSEDLOOP_DEBUG=1" in sentence(capsys.readouterr())
    with pytest.raises(ZeroDivisionError):
        report_errors(fail, debug=Session({"CLOSEDLOOP_DEBUG": "1"}).debug)


def test_a_full_disk_is_called_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever failed on it and whatever followed, the sentence says that the disk is full, and the
    exit code stays that of the error."""
    for cause in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SQL_ON_FULL_DISK):

        def fail(cause: Exception = cause) -> None:
            try:
                raise cause
            except Exception as error:
                raise RegistryError(where="M", wanted="to log", got="no", then="do") from error

        assert report_errors(fail, debug=False) == RegistryError.exit_code
        said = sentence(capsys.readouterr())
        assert said.startswith("closedloop: the disk is full: ")
        assert "closedloop prune --dry-run" in said


def test_settings_are_read_from_the_given_environment(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`main` obeys the environment it is given, not that of the process."""
    environment = {"CLOSEDLOOP_HOME": "other", "CLOSEDLOOP_PORT": "abc"}
    assert main(["key", "list"], environment) == UseCaseError.exit_code
    assert "CLOSEDLOOP_PORT" in sentence(capsys.readouterr())
    del environment["CLOSEDLOOP_PORT"]
    assert main(["key", "add", "shop"], environment) == 0
    assert (place / "other" / "api_keys.json").exists()
    assert environment["PREFECT_HOME"] == str(place / "other" / "prefect")


@pytest.mark.slow
def test_the_program_itself_leaves_with_the_code(place: Path) -> None:
    """The installed program hands the exit code to the shell and the sentence to stderr, and a
    reader that goes away is no fault."""
    program = [sys.executable, "-m", "closedloop"]
    done = subprocess.run(
        [*program, "why", "999", "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == StoreError.exit_code
    sentence((done.stdout, done.stderr))
    piped = subprocess.run(
        f"set -o pipefail; {sys.executable} -m closedloop history --json | head -c 1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (piped.stdout, piped.stderr) == ("[", "")
