"""The servers that `closedloop up` runs in a home, and their logins, for other commands.

The file is for its owner only, and locked while the servers run: what a killed process left behind
counts for nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE = "servers.json"


@dataclass(frozen=True)
class RunningServer:
    """Where a server answers (`http://HOST:PORT`), its login (`user:password`), its first page."""

    address: str
    login: str
    page: str

    def link(self, page: str = "") -> str:
        """An address that lets a person in without typing; a page may have a fragment, no query."""
        page, mark, fragment = (page or self.page).partition("#")
        return f"{self.address}{page}?token={self.login.partition(':')[2]}{mark}{fragment}"


def name_page(use_case: str) -> str:
    """The name of the page of a use case among the servers."""
    return f"page-{use_case}"


@contextmanager
def announced(home: Path, servers: Mapping[str, RunningServer]) -> Iterator[None]:
    """Let other commands of this user find the servers, by name, for the duration of the block."""
    path = home / _FILE
    path.unlink(missing_ok=True)  # somebody may have opened it before
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({name: asdict(server) for name, server in servers.items()}, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def find_running(home: Path) -> dict[str, RunningServer]:
    """The servers that run in a home, by name; none when nothing runs there."""
    try:
        with open(home / _FILE) as file:
            if _is_free(file.fileno()):
                return {}
            return {name: RunningServer(**server) for name, server in json.load(file).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
