"""MLflow's own database on this machine: made whole, upgraded whole, and named when damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from closedloop.errors import RegistryError
from closedloop.storage.new_database import replace_database


@dataclass(frozen=True)
class _Found:
    """The revision of MLflow's tables, if there are any, and whether anything is kept in them."""

    revision: str | None
    used: bool


def prepare_database(path: Path) -> None:
    """Make MLflow's database, or upgrade an older one, whose file is copied first.

    MLflow itself makes and upgrades it in steps that cannot be repeated after a crash. Raises
    RegistryError when the file is no database, is damaged, or is of a newer MLflow.
    """
    from mlflow.store.db.utils import _get_latest_schema_revision

    newest = _get_latest_schema_revision()

    def make(part: Path) -> None:
        found = _look(path)
        if found.used:
            _copy(path, part)
            _copy(path, path.with_name(f"{path.name}.before-{newest}"))
        _upgrade(part, path)

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_database(path, make, is_ready=lambda: _look(path).revision == newest)


def _look(path: Path) -> _Found:
    if not path.exists():
        return _Found(None, used=False)
    try:
        with closing(sqlite3.connect(path)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not {"alembic_version", "experiments"} <= names:
                return _Found(None, used=False)
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            used = connection.execute("SELECT 1 FROM experiments").fetchone() is not None
    except sqlite3.OperationalError:  # locked, or out of reach
        raise
    except sqlite3.DatabaseError as error:
        raise RegistryError(
            where=str(path),
            wanted="MLflow's database",
            got=str(error),
            then="put a backup in its place, or move it away to begin without versions",
        ) from error
    return _Found(revisions[0][0] if revisions else None, used)


def _upgrade(part: Path, path: Path) -> None:
    from mlflow.db import upgrade

    try:
        upgrade.callback(f"sqlite:///{part}")
    except Exception as error:
        if "Can't locate revision" not in str(error):
            raise
        raise RegistryError(
            where=str(path),
            wanted="tables of this MLflow or an older one",
            got=f"others: {error}",
            then="install the version of closedloop that wrote it",
        ) from error


def _copy(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as original, closing(sqlite3.connect(to)) as copied:
        original.backup(copied)
