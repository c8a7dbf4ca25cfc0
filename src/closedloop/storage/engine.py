"""Opens the SQL database of journal and records: SQLite by default, PostgreSQL when an address says
so."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from closedloop.errors import StoreError
from closedloop.storage.lock import hold_file


def open_engine(url: str) -> Engine:
    """An engine for `url`; nothing is connected yet.

    SQLite runs in WAL mode with full synchronisation: a committed row survives a crash of the
    process and of the machine. Raises StoreError when the address cannot be understood.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, OSError) as error:
        raise StoreError(
            where="CLOSEDLOOP_DATABASE_URL",
            wanted="a SQLAlchemy address such as sqlite:////folder/file.db or postgresql://host/name",
            got=str(error).splitlines()[0],
            then="mend the address",
        ) from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Transactions begin in `_begin_immediate`; the driver's own begin would come too late to take
    # the write lock.
    connection.isolation_level = None
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA busy_timeout=30000")
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            _switch_to_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")


def _switch_to_wal(cursor: Any) -> None:
    """Once in the life of a file. SQLite does not wait when two do it at once, it fails: they take
    turns here."""
    path = cursor.execute("PRAGMA database_list").fetchone()[2]
    with hold_file(Path(f"{path}.lock")) if path else nullcontext():
        cursor.execute("PRAGMA journal_mode=WAL")


def _begin_immediate(connection: Any) -> None:
    # A deferred transaction that upgrades from read to write fails at once with "database is
    # locked"; this one waits its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
