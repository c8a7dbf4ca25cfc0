"""What `closedloop doctor` says about the files under the home: whether each is whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from closedloop.errors import StoreError
from closedloop.operations.api_keys import read_keys
from closedloop.settings import Settings


def describe_databases(settings: Settings) -> str:
    """The SQLite files that are there and whole, and how many API keys.

    Raises StoreError for a damaged one, with what is lost without it; ClosedLoopError for keys.
    """
    lost = {
        _file_of(settings.store_url): "decisions and records",
        _file_of(settings.tracking_uri): "versions",
        settings.home_folder / "prefect" / "prefect.db": "history of runs",
    }
    whole = []
    for path, without in lost.items():
        if path is None or not path.exists():
            continue
        if damage := find_damage(path):
            raise StoreError(
                where=str(path),
                wanted="a whole SQLite database",
                got=damage,
                then="put a backup in its place, or move it away: the next command begins anew, "
                f"without the {without} in it",
            )
        whole.append(path.name)
    keys = read_keys(settings.keys_file)
    return f"{', '.join(whole) or 'none yet'}: whole; {len(keys)} API keys"


def find_damage(path: Path) -> str | None:
    """What SQLite finds wrong with a file, None for a whole one; waits for nobody."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else found


def _file_of(url: str) -> Path | None:
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return Path(path) if url.startswith("sqlite:///") else None
