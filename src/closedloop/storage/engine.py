"""Opens the SQL database of journal and records: SQLite by default, or PostgreSQL."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from shutil import copymode
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from closedloop.errors import StoreError
from closedloop.storage.lock import hold_file

_READS = "closedloop_reads"  # the option of a transaction on SQLite that only reads

# SQLite's log grows while somebody reads, however long that takes; afterwards it is cut to this.
_LOG_BYTES = 64_000_000


def open_engine(url: str) -> Engine:
    """An engine for `url`; it does not connect yet.

    SQLite runs in WAL mode with full synchronisation: a committed row survives a crash of the
    process and of the machine. Raises StoreError for an invalid address.
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
            then="fix the address",
        ) from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
    return engine


def read_only(engine: Engine) -> Engine:
    """The same database for transactions that only read: each sees one moment, and stops no writer.

    On PostgreSQL writing raises; on SQLite it may fail with "database is locked".
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(**{_READS: True})


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Transactions begin in `_begin`: the driver's BEGIN takes the write lock too late.
    connection.isolation_level = None
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA busy_timeout=30000")
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            _switch_to_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")


def _switch_to_wal(cursor: Any) -> None:
    """Once per file, under a lock: SQLite fails when two processes do it at the same time."""
    path = cursor.execute("PRAGMA database_list").fetchone()[2]
    if not path:
        return
    lock = Path(f"{path}.lock")
    with hold_file(lock):
        if not os.path.getsize(path):
            copymode(lock, path)  # SQLite's own mode is 644 at most, also where a group may write
        cursor.execute("PRAGMA journal_mode=WAL")


def _begin(connection: Any) -> None:
    # A deferred transaction that goes from reading to writing fails at once with "database is
    # locked"; an immediate one waits for the lock, and whoever writes waits for it.
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
