"""Which revision the tables of journal and records are at, and what follows from it when they are
first used.

A service looks at one row here; Alembic is imported only when something has to be done
(`upgrade.py`).
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

# Not Alembic's own name for it: MLflow and Prefect, which may share a PostgreSQL database with us,
# keep their revision there.
VERSION_TABLE = "closedloop_alembic_version"
# A database in which one of these stands, and no revision, is of the time before there were any:
# the first one describes it.
_FIRST_TABLES = frozenset(
    {"decisions", "outcomes", "answers", "answer_keys", "answer_labels", "record_probes"}
)


@dataclass(frozen=True)
class History:
    """All revisions, the first one first, and the folder that has a file for each."""

    folder: Path
    revisions: tuple[str, ...]

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.revisions[-1]


OURS = History(Path(__file__).with_name("migrations"), ("0001",))


@dataclass(frozen=True)
class Found:
    """The revision of a database: None where none of our tables is. `stamped` when the database
    says it itself."""

    revision: str | None
    stamped: bool = False


@dataclass(frozen=True)
class Upgrade:
    """From `before` (None: a database without our tables) to `after`; `needed` when that takes, or
    took, a change.

    `copy` is the file as it was before, where one was made.
    """

    before: str | None
    after: str
    needed: bool
    copy: Path | None = None


def plan_upgrade(engine: Engine, history: History | None = None, *, asked: bool = True) -> Upgrade:
    """What `upgrade_tables` or, unless `asked`, `prepare_tables` would do, and their StoreErrors;
    nothing is changed."""
    history = history or OURS
    if (
        engine.dialect.name == "sqlite"
        and engine.url.database
        and not Path(engine.url.database).exists()
    ):
        return Upgrade(None, history.head, True)  # connecting would make the file
    with told(engine), engine.begin() as connection:
        found = read_revision(connection)
    return Upgrade(found.revision, history.head, is_due(found, engine, history, asked=asked))


def read_revision(connection: Connection) -> Found:
    """The revision of the tables that are there."""
    names = set(sa.inspect(connection).get_table_names())
    stamps = (
        connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
        if VERSION_TABLE in names
        else ()
    )
    if stamps:
        return Found(", ".join(sorted(stamps)), stamped=True)
    return Found(OURS.revisions[0] if names & _FIRST_TABLES else None)


def is_due(found: Found, engine: Engine, history: History, *, asked: bool) -> bool:
    """Whether something is to be done. Raises StoreError when the tables are newer than the
    program, or older on a server and nobody asked for an upgrade."""
    wanted = f"the tables of revision {history.head}"
    if found.revision is not None and found.revision not in history.revisions:
        raise StoreError(
            where=name_database(engine),
            wanted=f"{wanted} or older",
            got=f"revision {found.revision}, of a newer closedloop",
            then="update closedloop",
        )
    if found.revision not in (None, history.head) and engine.dialect.name != "sqlite" and not asked:
        raise StoreError(
            where=name_database(engine),
            wanted=wanted,
            got=f"revision {found.revision}",
            then="run: closedloop upgrade",
        )
    return found != Found(history.head, stamped=True)


def name_database(engine: Engine) -> str:
    """The address without its password."""
    return f"database {engine.url.render_as_string(hide_password=True)}"


@contextmanager
def told(engine: Engine) -> Iterator[None]:
    """A block whose SQLAlchemy errors become a StoreError that names the database."""
    try:
        yield
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        raise StoreError(
            where=name_database(engine),
            wanted="a database that answers",
            got=said.splitlines()[0],
            then="check CLOSEDLOOP_DATABASE_URL, the disk, and that its server runs",
        ) from error
