"""The database of a Prefect server on this machine, made whole before the server opens it."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from closedloop.errors import StoreError
from closedloop.storage.new_database import replace_database

_SQLITE = "sqlite+aiosqlite:///"


def prepare_database() -> None:
    """Make the SQLite file that Prefect's settings name, unless it is there.

    An existing one is left to Prefect, which brings older ones up to date. Raises StoreError when
    the file is no database, sqlite3.Error or OSError when it cannot be made.
    """
    from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL

    url = PREFECT_SERVER_DATABASE_CONNECTION_URL.value() or ""
    path = Path(url.removeprefix(_SQLITE).partition("?")[0])
    if not url.startswith(_SQLITE) or path.name == ":memory:":
        return
    path.parent.mkdir(parents=True, exist_ok=True)

    def make(part: Path) -> None:
        # In a thread: the caller's own event loop may be running.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _make_tables(f"{_SQLITE}{part}")).result()

    replace_database(path, make, is_ready=lambda: _is_there(path))


def _is_there(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except sqlite3.OperationalError:  # locked, or out of reach
        raise
    except sqlite3.DatabaseError as error:
        raise StoreError(
            where=str(path),
            wanted="Prefect's database",
            got=str(error),
            then="move it away: it has the history of runs, and nothing else is lost",
        ) from error


async def _make_tables(address: str) -> None:
    from prefect.server.database import provide_database_interface
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config

    with temporary_database_config(AioSqliteConfiguration(connection_url=address)):
        database = provide_database_interface()
        await database.create_db()
        await (await database.engine()).dispose()
