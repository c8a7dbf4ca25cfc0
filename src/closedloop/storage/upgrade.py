"""Brings the tables to the revision of this program, all or nothing, through Alembic: its only
door.

A service on the right revision finds that out by two small queries (`revisions.py`); Alembic is
imported when something has to be done.

There is no env.py, which does its work when it is imported: Alembic's parts are called here, on a
connection that holds the lock. A revision is handed its operations, because `alembic.op` is one for
the whole process, and threads migrate databases of their own.
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
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.storage import revisions
from closedloop.storage.revisions import (
    VERSION_TABLE,
    Found,
    History,
    Upgrade,
    is_due,
    name_database,
    read_revision,
    told,
)

_LOG = logging.getLogger("closedloop.tables")
_LOCK = 7_203_301_771  # any number that nothing else locks
_ONCE = "predictions"  # the table of records that were kept row by row


def prepare_tables(engine: Engine, history: History | None = None) -> None:
    """What a store does on first use: make the tables where there are none, and see to it that they
    are those of this program.

    Any number of processes may do so at once. SQLite is upgraded, after the file was copied; a
    server, which others use too, never is. Raises StoreError when its tables are older, or any are
    newer, than the program; SQLAlchemyError when it cannot be reached.
    """
    history = history or revisions.OURS
    with engine.begin() as connection:
        found = read_revision(connection)
    if is_due(found, engine, history, asked=False):
        migrate(engine, history, asked=False)


def upgrade_tables(engine: Engine, history: History | None = None) -> Upgrade:
    """Bring the tables to the newest revision because somebody asks for it, on any database; also
    makes them.

    Raises StoreError when they are newer, when the database cannot be reached, or when a revision
    fails: then nothing is changed.
    """
    with told(engine):
        return migrate(engine, history or revisions.OURS, asked=True)


def migrate(engine: Engine, history: History, *, asked: bool) -> Upgrade:
    """Bring the tables to the newest revision in one transaction, which whoever comes second waits
    for; see `revisions.py`.

    Raises StoreError, and then nothing is changed.
    """
    with _alone(engine) as connection:
        found = read_revision(connection)
        if not is_due(found, engine, history, asked=asked):
            return Upgrade(found.revision, history.head, False)
        if not found.stamped:
            _tell_what_is_not_read(connection)
        if found.revision in (None, history.head):
            _run(connection, history, found)
            return Upgrade(found.revision, history.head, True)
        with _copied(connection, history.head) as copy:
            _run(connection, history, found)
    if not asked:  # whoever asks is told
        _LOG.warning(
            "upgraded %s from revision %s to %s; the file as it was: %s",
            name_database(engine),
            found.revision,
            history.head,
            copy,
        )
    return Upgrade(found.revision, history.head, True, copy)


def _run(connection: Connection, history: History, found: Found) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(history.folder), version_locations=[str(history.folder)])
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    operations = Operations(context)
    # Tables without a stamp get what they may lack of the first revision: a database of the journal
    # alone has no records.
    steps = scripts.iterate_revisions(history.head, found.revision if found.stamped else "base")
    before = _broken_links(connection)
    for step in reversed(list(steps)):
        try:
            step.module.upgrade(operations)
        except SQLAlchemyError as error:
            raise StoreError(
                where=f"revision {step.revision} of {name_database(connection.engine)}",
                wanted="to change the tables",
                got=str(getattr(error, "orig", None) or error).splitlines()[0],
                then="nothing was changed; mend that, or report it and go on with the version before",
            ) from error
    if broken := _broken_links(connection) - before:
        raise StoreError(
            where=name_database(connection.engine),
            wanted="an upgrade after which every row refers to one that is there",
            got=f"{len(broken)} that do not",
            then="nothing was changed; report it",
        )
    context.stamp(scripts, history.head)


def _broken_links(connection: Connection) -> set[tuple[object, ...]]:
    """What SQLite was kept from noticing; a server enforces it all the time."""
    sqlite = connection.dialect.name == "sqlite"
    return (
        {tuple(row) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
        if sqlite
        else set()
    )


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process has beside it: on SQLite it holds the write lock from its
    beginning."""
    with engine.connect() as connection, _unlinked(connection), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection


@contextmanager
def _unlinked(connection: Connection) -> Iterator[None]:
    # SQLite changes a column by making the table anew. While references are enforced it would take
    # dropping the old one for deleting its rows; and it does not listen to this inside of a
    # transaction.
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
def _copied(connection: Connection, revision: str) -> Iterator[Path | None]:
    """A copy of SQLite's file as it is now, kept when the block succeeds; None on a server and in
    memory."""
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
            part.replace(copy)  # before the commit: an upgraded file is never without its copy
    finally:
        with suppress(OSError):
            part.unlink()


def _copy_database(path: Path, part: Path) -> None:
    # We hold the write lock: a second connection reads what is committed, and nobody can add to
    # that.
    part.unlink(missing_ok=True)
    part.touch()
    copymode(path, part)  # it is as private as the original
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
            then="free some disk, or mend the permissions of its folder; nothing was changed",
        ) from error


def _tell_what_is_not_read(connection: Connection) -> None:
    names = set(sa.inspect(connection).get_table_names())
    if _ONCE in names and "answers" not in names:
        _LOG.warning(
            "the table %s of an earlier version is no longer read: "
            "its rows are not part of the records",
            _ONCE,
        )
