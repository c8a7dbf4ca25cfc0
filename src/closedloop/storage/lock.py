"""One retraining at a time, on one machine or many: a lock that dies with its holder.

On SQLite it is a file lock, which the operating system releases when the process ends, even by a
crash. On PostgreSQL it is an advisory lock, which the server releases when the connection ends.
Nothing has to expire, and nothing has to be repaired after a crash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError


@contextmanager
def hold_lock(name: str, engine: Engine) -> Iterator[None]:
    """Hold the lock `name` during the block; waits while another process holds it.

    Raises StoreError when the database (PostgreSQL) or the folder of the file (SQLite) cannot be
    reached. Not re-entrant.
    """
    if engine.url.get_backend_name() == "sqlite":
        with hold_file(Path(engine.url.database or "closedloop.db").with_name(f"{name}.lock")):
            yield
    else:
        with _hold_advisory(name, engine):
            yield


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Hold a lock on a file during the block; the file is created if missing.

    Raises StoreError when it cannot be written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not inherited by child processes: one that outlives this process must not keep the
            # lock. Whoever can read the file can take the lock: the umask says who that is.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(
                where=f"lock {path.name}",
                wanted="a file that can be written and locked",
                got=str(error),
                then="fix the permissions of its folder",
            ) from error
        yield


@contextmanager
def _hold_advisory(name: str, engine: Engine) -> Iterator[None]:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(
                engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            )
            # Not returned to the pool: closing the connection releases the lock, even where
            # unlocking would fail.
            stack.callback(connection.invalidate)
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
        except SQLAlchemyError as error:
            raise StoreError(
                where=f"lock {name}",
                wanted="to reach the database",
                got=str(error).splitlines()[0],
                then="check CLOSEDLOOP_DATABASE_URL",
            ) from error
        yield
