"""What every command works with: the environment, the settings read from it, and the terminal."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from closedloop.cli.plain_text import plain
from closedloop.errors import UseCaseError
from closedloop.shown_text import printable
from closedloop.storage.home import PRIVATE, choose_umask, is_open, making_files

if TYPE_CHECKING:
    from closedloop.settings import Settings
    from closedloop.turn.open import Loop

# A command prints its result or one error; without these, libraries would print pages first.
QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Session:
    """One run of the command line. Results go to stdout (`console`), progress to stderr."""

    def __init__(
        self, environment: MutableMapping[str, str], *, users_umask: int = PRIVATE
    ) -> None:
        self.environment = environment
        self._users_umask = users_umask
        self.console = Console()
        self.progress = Console(stderr=True)

    @property
    def debug(self) -> bool:
        """Whether errors are raised with their traceback."""
        return bool(self.environment.get("CLOSEDLOOP_DEBUG"))

    @cached_property
    def settings(self) -> Settings:
        """Read once. Raises UseCaseError that names the variable with a wrong value."""
        from closedloop.settings import Settings

        return Settings.read(self.environment)

    def prepare_environment(self) -> None:
        """Tell Prefect, MLflow and Evidently where their state lives, before they are imported.

        From here on no other user may read what is written. What the user has set stays. Raises
        UseCaseError when a setting is wrong or CLOSEDLOOP_HOME cannot be written.
        """
        home = self.settings.home_folder
        existing = next(folder for folder in (home, *home.parents) if folder.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            got = f"{existing}, which " + (
                "cannot be written" if existing.is_dir() else "is a file"
            )
            raise UseCaseError(
                where="CLOSEDLOOP_HOME",
                wanted=f"to keep everything under {home}",
                got=got,
                then="set it to a folder of your own",
            )
        os.umask(choose_umask(home))
        if is_open(home):
            self.warn(
                f"every user of this machine may read {home}: chmod 700 {home}, or chmod 2770 to "
                "share it with its group"
            )
        quiet = {} if self.debug else QUIET
        for variable, value in {**self.settings.library_environment(), **quiet}.items():
            self.environment.setdefault(variable, value)

    def open_loop(
        self, use_case: Path | None, *, with_records: bool = False, if_whole: bool = False
    ) -> Loop:
        """Open a use case on these settings, with a spinner for the slow imports."""
        with self.working("reading the use case ..."):
            from closedloop.turn.open import open_loop

            return open_loop(
                use_case, settings=self.settings, with_records=with_records, if_whole=if_whole
            )

    @property
    def person(self) -> str:
        """Who runs this command, as the operating system knows them: user@host."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a container whose user has no name
            user = str(os.getuid())
        return f"{user}@{socket.gethostname()}"

    def users_files(self) -> AbstractContextManager[object]:
        """For the block, files are made with the modes of the user's other files."""
        return making_files(self._users_umask)

    def find_thread_log(self) -> Path:
        """Where errors of background threads are written."""
        return self.settings.home_folder / "logs" / "threads.log"

    def working(self, sentence: str) -> AbstractContextManager[object]:
        """A spinner on stderr for the duration of the block."""
        return self.progress.status(plain(sentence))

    def print_line(self, line: str) -> None:
        """Print a line to be copied or read by a program: it never wraps."""
        sys.stdout.write(printable(line) + "\n")

    def print_json(self, content: Any) -> None:
        """Print for programs, whatever the width of the terminal."""
        self.print_line(json.dumps(content, indent=2))

    def show(self, as_json: bool, content: Any, print_for_people: Callable[[], object]) -> None:
        """Print the content as JSON, or call `print_for_people`."""
        self.print_json(content) if as_json else print_for_people()

    def warn(self, sentence: str) -> None:
        """Print a warning on stderr, in one line."""
        sys.stderr.write(f"closedloop: {printable(' '.join(sentence.split()))}\n")
