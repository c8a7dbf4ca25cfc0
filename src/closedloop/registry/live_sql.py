"""MLflow's registry read from its database tables, where there is no server; `live.py` says why."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text

_SETTLED_NS = 2_000_000_000
_ALIAS = text("SELECT version FROM registered_model_aliases WHERE name = :name AND alias = :alias")
_SOURCE = text(
    "SELECT source FROM model_versions WHERE name = :name AND version = :version"
    " AND current_stage <> 'Deleted_Internal'"
)
_RUN = text("SELECT run_id FROM model_versions WHERE name = :name AND version = :version")
_TAGS = text("SELECT key, value FROM model_version_tags WHERE name = :name AND version = :version")


class RegistryTables:
    """Reads from an MLflow database. Every error is an OSError or SQLAlchemy's."""

    def __init__(self, tracking_uri: str) -> None:
        self._url = make_url(tracking_uri)
        self._file = (
            Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        )
        self._engine: Engine | None = None
        self._seen: tuple[object, int | None] | None = None

    def aliased(self, name: str, alias: str) -> int | None:
        """The version that an alias points at, if any; None while there is no registry."""
        if self._file is not None and not self._file.exists():
            return None
        # A service asks several times a second: opening a database holds Python's lock for
        # milliseconds, looking at its files takes 20 us.
        state = self._file_state(), name, alias
        if state[0] is not None and self._seen is not None and self._seen[0] == state:
            return self._seen[1]
        with self._connect() as connection:
            found = connection.execute(_ALIAS, {"name": name, "alias": alias}).scalar()
        self._seen = state, None if found is None else int(found)
        return self._seen[1]

    def _file_state(self) -> tuple[tuple[int, int, int], ...] | None:
        """Changes with every commit; None where that cannot be known.

        That is so for a database that is not a file, and for a file that was just written: the
        clocks of file systems are coarse.
        """
        if self._file is None:
            return None
        found = []
        for path in (self._file, self._file.with_name(self._file.name + "-wal")):
            try:
                status = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        newest = max(changed_ns for _, _, changed_ns in found)
        return tuple(found) if time.time_ns() - newest > _SETTLED_NS else None

    def version(self, name: str, number: int) -> tuple[str, dict[str, str]] | None:
        """Where a version's files are, and its tags; None when there is no such version."""
        asked = {"name": name, "version": number}
        with self._connect() as connection:
            source = connection.execute(_SOURCE, asked).scalar()
            tags = {key: value or "" for key, value in connection.execute(_TAGS, asked)}
        return None if source is None else (str(source), tags)

    def run(self, name: str, number: int) -> str:
        """The id of the run that made a version; empty when there is no such version."""
        with self._connect() as connection:
            found = connection.execute(_RUN, {"name": name, "version": number}).scalar()
        return str(found or "")

    def _connect(self) -> Connection:
        if self._engine is None:
            if self._file is not None:
                address = f"sqlite:///file:{quote(str(self._file.resolve()))}?mode=ro&uri=true"
                # A connection for each query: an open one would go on reading a file that somebody
                # has replaced.
                self._engine = create_engine(
                    address, connect_args={"timeout": 1.0}, poolclass=NullPool
                )
            else:
                backend = (
                    "postgresql+psycopg"
                    if self._url.drivername in ("postgresql", "postgres")
                    else self._url.drivername
                )
                self._engine = create_engine(self._url.set(drivername=backend), pool_pre_ping=True)
        return self._engine.connect()
