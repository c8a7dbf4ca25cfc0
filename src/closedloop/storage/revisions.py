"""The revision of the tables of journal and records, and whether they need an upgrade.

This takes two small queries; Alembic is imported only for an upgrade (`upgrade.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.storage.engine import read_only

# Not Alembic's default name: MLflow and Prefect, which may share the PostgreSQL database, keep
# their revision there.
VERSION_TABLE = "closedloop_alembic_version"
# A database with one of these tables but no revision is older than the revisions: the first one
# describes it.
_FIRST_TABLES = frozenset(
    {"decisions", "outcomes", "answers", "answer_keys", "answer_labels", "record_probes"}
)


@dataclass(frozen=True)
class Revisions:
    """All revisions, oldest first, and the folder with a file for each."""

    folder: Path
    names: tuple[str, ...]

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.names[-1]


OURS = Revisions(
    Path(__file__).with_name("migrations"),
    ("0001", "0002", "0003", "0004", "0005", "0006", "0007"),
)


@dataclass(frozen=True)
class Found:
    """The revision of a database; None without our tables. `stamped` when it is written there."""

    revision: str | None
    stamped: bool = False


@dataclass(frozen=True)
class Upgrade:
    """From revision `before` (None: without our tables) to `after`; `needed` for a change.

    `copy` is the file as it was before, if a copy was made.
    """

    before: str | None
    after: str
    needed: bool
    copy: Path | None = None


def plan_upgrade(
    engine: Engine, revisions: Revisions | None = None, *, requested: bool = True
) -> Upgrade:
    """What `upgrade_tables` or, unless `requested`, `prepare_tables` would do; changes nothing.

    Raises StoreError where they would.
    """
    revisions = revisions or OURS
    if (
        engine.dialect.name == "sqlite"
        and engine.url.database
        and not Path(engine.url.database).exists()
    ):
        return Upgrade(None, revisions.head, True)  # connecting would create the file
    with store_errors(engine), read_only(engine).begin() as connection:
        found = read_revision(connection)
    is_needed = needs_upgrade(found, engine, revisions, requested=requested)
    return Upgrade(found.revision, revisions.head, is_needed)


def read_revision(connection: Connection) -> Found:
    """The revision of the tables in the database."""
    names = set(sa.inspect(connection).get_table_names())
    stamps = (
        connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
        if VERSION_TABLE in names
        else ()
    )
    if stamps:
        return Found(", ".join(sorted(stamps)), stamped=True)
    return Found(OURS.names[0] if names & _FIRST_TABLES else None)


def needs_upgrade(found: Found, engine: Engine, revisions: Revisions, *, requested: bool) -> bool:
    """Whether the tables must change.

    Raises StoreError when they are newer than the program, or when they are older, on a server,
    and no upgrade was requested.
    """
    wanted = f"the tables of revision {revisions.head}"
    if found.revision is not None and found.revision not in revisions.names:
        raise StoreError(
            where=name_database(engine),
            wanted=f"{wanted} or older",
            got=f"revision {found.revision}, of a newer closedloop",
            then="update closedloop",
        )
    is_older = found.revision not in (None, revisions.head)
    if is_older and engine.dialect.name != "sqlite" and not requested:
        raise StoreError(
            where=name_database(engine),
            wanted=wanted,
            got=f"revision {found.revision}",
            then="run: closedloop upgrade",
        )
    return found != Found(revisions.head, stamped=True)


def name_database(engine: Engine) -> str:
    """The address without its password."""
    return f"database {engine.url.render_as_string(hide_password=True)}"


@contextmanager
def store_errors(engine: Engine) -> Iterator[None]:
    """A block whose SQLAlchemy errors become a StoreError that names the database."""
    try:
        yield
    except SQLAlchemyError as error:
        message = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        raise StoreError(
            where=name_database(engine),
            wanted="a database that answers",
            got=message.splitlines()[0],
            then="check CLOSEDLOOP_DATABASE_URL, the disk, and that the server is running",
        ) from error
