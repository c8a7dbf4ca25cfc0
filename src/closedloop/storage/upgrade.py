"""Upgrades the tables to the revision of this program, all or nothing. Alembic's only door.

There is no env.py, because it works at import: Alembic's parts are called here, on a connection
that holds the lock. A revision is given its operations, because `alembic.op` is shared by the whole
process, whose threads may upgrade different databases.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shutil import copymode

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.storage import partitions, revisions
from closedloop.storage.engine import read_only
from closedloop.storage.revisions import (
    VERSION_TABLE,
    Found,
    Revisions,
    Upgrade,
    name_database,
    needs_upgrade,
    read_revision,
    store_errors,
)

_LOG = logging.getLogger("closedloop.tables")
_LOCK = 7_203_301_771  # an arbitrary number that nothing else locks
_ROW_BY_ROW = "predictions"  # the records of an earlier version, which kept them row by row


def prepare_tables(engine: Engine, target: Revisions | None = None) -> None:
    """What a store does on first use: create missing tables, and check or upgrade existing ones.

    Any number of processes may do so at once. SQLite is upgraded, after copying its file; a server,
    which others use too, is not, but its partitions are made ahead. Raises StoreError when the
    tables are newer than the program, or older on a server; SQLAlchemyError when the database
    cannot be reached.
    """
    target = target or revisions.OURS
    with read_only(engine).begin() as connection:
        found, is_due = read_revision(connection), partitions.is_due(connection)
    if needs_upgrade(found, engine, target, requested=False):
        _upgrade(engine, target, requested=False)
        _make_partitions(engine)
    elif is_due:
        _make_partitions(engine)


def upgrade_tables(engine: Engine, target: Revisions | None = None) -> Upgrade:
    """Create the tables, or upgrade them to the newest revision, on any database, as requested.

    Raises StoreError when they are newer, when the database cannot be reached, or when a revision
    fails: then nothing is changed.
    """
    with store_errors(engine):
        done = _upgrade(engine, target or revisions.OURS, requested=True)
        _make_partitions(engine)
    return done


def _upgrade(engine: Engine, target: Revisions, *, requested: bool) -> Upgrade:
    with _lock_database(engine) as connection:
        found = read_revision(connection)  # again: another process may have been first
        if not needs_upgrade(found, engine, target, requested=requested):
            return Upgrade(found.revision, target.head, False)
        if not found.stamped:
            _warn_of_ignored_table(connection)
        if found.revision in (None, target.head):
            _run_revisions(connection, target, found)
            return Upgrade(found.revision, target.head, True)
        with _copy_first(connection, target.head) as copy:
            _run_revisions(connection, target, found)
    if not requested:  # a requested upgrade is reported by the command
        _LOG.warning(
            "upgraded %s from revision %s to %s; the file as it was: %s",
            name_database(engine),
            found.revision,
            target.head,
            copy,
        )
    return Upgrade(found.revision, target.head, True, copy)


def _make_partitions(engine: Engine) -> None:
    """Make the next months' partitions; whoever prepares the tables next tries again if need be."""
    if engine.dialect.name == "sqlite":
        return
    try:
        with _lock_database(engine) as connection:
            partitions.make_ahead(connection)
    except DBAPIError as error:
        if not partitions.gave_way(error):
            raise
        _LOG.warning("the next partitions of the records were not made: %s", error.orig)


def _run_revisions(connection: Connection, target: Revisions, found: Found) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(target.folder), version_locations=[str(target.folder)])
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    operations = Operations(context)
    # Without a stamp, the first revision runs too: it creates what is missing, for instance the
    # tables of the records in a database that had only a journal.
    steps = scripts.iterate_revisions(target.head, found.revision if found.stamped else "base")
    before = _broken_links(connection)
    for step in reversed(list(steps)):
        try:
            step.module.upgrade(operations)
        except SQLAlchemyError as error:
            raise StoreError(
                where=f"revision {step.revision} of {name_database(connection.engine)}",
                wanted="to change the tables",
                got=str(getattr(error, "orig", None) or error).splitlines()[0],
                then="nothing was changed; fix that, or report it and use the previous version",
            ) from error
    if broken := _broken_links(connection) - before:
        raise StoreError(
            where=name_database(connection.engine),
            wanted="an upgrade that keeps every reference between rows",
            got=f"{len(broken)} rows that refer to a missing row",
            then="nothing was changed; report it",
        )
    context.stamp(scripts, target.head)


def _broken_links(connection: Connection) -> set[tuple[object, ...]]:
    """Rows whose reference is missing: SQLite does not check during an upgrade, a server does."""
    sqlite = connection.dialect.name == "sqlite"
    return (
        {tuple(row) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
        if sqlite
        else set()
    )


@contextmanager
def _lock_database(engine: Engine) -> Iterator[Connection]:
    """A transaction that excludes other upgrades; on SQLite it holds the write lock at once."""
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    # SQLite changes a column by recreating the table. With foreign keys on, dropping the old table
    # counts as deleting its rows. The setting has no effect inside a transaction.
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _copy_first(connection: Connection, revision: str) -> Iterator[Path | None]:
    """A copy of SQLite's file, kept if the block succeeds; None on a server and in memory."""
    file = (
        connection.exec_driver_sql("PRAGMA database_list").fetchone()
        if connection.dialect.name == "sqlite"
        else None
    )
    if file is None or not file[2]:
        yield None
        return
    path = Path(file[2])
    copy, part = (
        path.with_name(f"{path.name}.before-{revision}{ending}") for ending in ("", ".part")
    )
    try:
        with _writing(part):
            _copy_database(path, part)
        yield copy
        with _writing(copy):
            part.replace(copy)  # before the commit: an upgraded file always has its copy
    finally:
        with suppress(OSError):
            part.unlink()


def _copy_database(path: Path, part: Path) -> None:
    # The write lock is held: a second connection reads everything that is committed, and nobody can
    # commit more.
    part.unlink(missing_ok=True)
    part.touch()
    copymode(path, part)  # as private as the original
    with closing(sqlite3.connect(path)) as original, closing(sqlite3.connect(part)) as copied:
        original.backup(copied)


@contextmanager
def _writing(copy: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            where=str(copy),
            wanted="a copy of the database before it is upgraded",
            got=str(error),
            then="free disk space, or fix the permissions of its folder; nothing was changed",
        ) from error


def _warn_of_ignored_table(connection: Connection) -> None:
    names = set(sa.inspect(connection).get_table_names())
    if _ROW_BY_ROW in names and "answers" not in names:
        _LOG.warning(
            "the table %s of an earlier version is no longer read: "
            "its rows are not part of the records",
            _ROW_BY_ROW,
        )
