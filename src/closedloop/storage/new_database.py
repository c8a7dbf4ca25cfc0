"""A SQLite file that a library makes, MLflow's or Prefect's: it appears whole, or not at all.

Libraries make their tables in dozens of steps and cannot go on where a process was killed. So they
make them under another name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import copymode

from closedloop.storage.lock import hold_file

# What SQLite keeps beside a file while it is in use.
_BESIDE = ("-journal", "-wal", "-shm")


def replace_database(
    path: Path, make: Callable[[Path], object], *, is_ready: Callable[[], bool]
) -> None:
    """Unless `is_ready()`, let `make` write a new file, given its name, and put it at `path`.

    Any number of processes may do so at once: one makes it, the others wait. A process killed at
    any moment leaves `path` as it was. Raises what `make` raises, and sqlite3.Error or OSError.
    """
    if is_ready():
        return
    lock, part = (path.with_name(f"{path.name}.{ending}") for ending in ("lock", "part"))
    with hold_file(lock), ExitStack() as stack:
        if is_ready():
            return
        if path.exists():
            existing = stack.enter_context(closing(sqlite3.connect(path, timeout=30)))
            existing.execute("BEGIN IMMEDIATE")  # nobody writes into it meanwhile
        _remove(part, *_beside(part))  # of a process that was killed
        try:
            make(part)
            with closing(sqlite3.connect(part)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")  # all of it in this file
            copymode(lock, part)  # SQLite's own mode is 644 at most, also where a group may write
            # What is beside the file that is replaced would be taken for changes to the new one.
            _remove(*_beside(path))
            part.replace(path)
        finally:
            _remove(part, *_beside(part))


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in _BESIDE]


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
