"""A home that was moved or copied works with its own files.

MLflow keeps the whole address of every file. Whoever copies a home would read, add and delete files
of the original, and whoever moves one would find none. So the addresses are changed to where the
files are now, before any is used.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

_LOG = logging.getLogger("closedloop.home")
_ADDRESSES = (
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
    ("experiments", "artifact_location"),
)


def find_own_files(tracking_uri: str, artifacts: Path) -> None:
    """Let the MLflow database of a home name the files under `artifacts`, which lie beside it.

    What is only at the old address stays there. Any number of processes may do so at once. Other
    databases are left alone, and so are servers. Raises sqlite3.Error.
    """
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    if database.parent != artifacts.parent or not database.exists():
        return
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        tables = {
            name: {column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")}
            for name, _ in _ADDRESSES
        }
        if "artifact_location" not in tables["experiments"]:
            return
        for old in _old_places(connection, artifacts):
            _LOG.warning(
                "this home was at %s: its files are now those in %s",
                Path(unquote(old.removeprefix("file://"))).parent,
                artifacts.parent,
            )
            connection.create_function("now_at", 1, _Moved(old, artifacts).now_at)
            connection.execute("BEGIN IMMEDIATE")
            for table, column in _ADDRESSES:
                if column in tables[table]:
                    connection.execute(
                        f"UPDATE {table} SET {column} = now_at({column}) "
                        f"WHERE substr({column}, 1, ?) = ?",
                        (len(old) + 1, f"{old}/"),
                    )
            connection.execute("COMMIT")


def _old_places(connection: sqlite3.Connection, artifacts: Path) -> Iterable[str]:
    """Addresses of other folders in which this home's use cases kept their files."""
    found = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
    ends = {f"/artifacts/{quote(name)}": location or "" for name, location in found}
    return {
        location.removesuffix(end) + "/artifacts"
        for end, location in ends.items()
        if location.startswith("file://") and location.endswith(end)
    } - {artifacts.as_uri()}


class _Moved:
    """From the folder with the address `old` to `new`."""

    def __init__(self, old: str, new: Path) -> None:
        self._old, self._new = old, new

    def now_at(self, address: str) -> str:
        """Where a file or folder of a run is: at the new place, unless only the old one has it."""
        inside = address.removeprefix(f"{self._old}/")
        run = "/".join(unquote(inside).split("/")[:2])
        only_there = (
            Path(unquote(self._old.removeprefix("file://")), run).exists()
            and not (self._new / run).exists()
        )
        # New runs of a use case come to the new place in any case.
        return address if only_there and "/" in inside else f"{self._new.as_uri()}/{inside}"
