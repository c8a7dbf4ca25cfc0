"""Locks of a use case, on one machine or many: they die with their holder.

On SQLite it is a file lock, which the operating system releases when the process ends, even by a
crash. On PostgreSQL it is an advisory lock, which the server releases when the connection ends.
Nothing has to expire, and nothing has to be repaired after a crash.

Whoever holds a lock says so: in its file, or as the name of its session (`application_name`).
Whoever waits for longer than a moment says on stderr for whom. What a dead holder wrote is never
read: who gets the lock writes over it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError

_FIRST_WORD_SECONDS, _NEXT_WORD_SECONDS = 1.0, 60.0
_UNKNOWN = "another command"
_HOLDER = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32 | objid::bigint) = :number"
)


@contextmanager
def hold_lock(name: str, engine: Engine, purpose: str) -> Iterator[None]:
    """Hold the lock `name` during the block; waits while another process holds it.

    `purpose` is the command, for those who wait for it. Raises StoreError when the database
    (PostgreSQL) or the folder of the file (SQLite) cannot be reached. Not re-entrant.
    """
    if engine.url.get_backend_name() == "sqlite":
        path = Path(engine.url.database or "closedloop.db").with_name(f"{name}.lock")
        with hold_file(path, purpose):
            yield
    else:
        with _hold_advisory(name, engine, purpose):
            yield


@contextmanager
def hold_file(path: Path, purpose: str = _UNKNOWN) -> Iterator[None]:
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
            with _telling(path.stem, lambda: path.read_text(encoding="utf-8")):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(
                where=f"lock {path.name}",
                wanted="a file that can be written and locked",
                got=str(error),
                then="fix the permissions of its folder",
            ) from error
        with suppress(OSError):  # a full disk does not stop whoever has the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _introduce(purpose).encode(), 0)
        yield


@contextmanager
def _hold_advisory(name: str, engine: Engine, purpose: str) -> Iterator[None]:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)

    def find_holder() -> str:
        with engine.connect() as asking:
            return str(asking.execute(_HOLDER, {"number": number}).scalar() or "")

    with ExitStack() as stack:
        try:
            connection = stack.enter_context(
                engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            )
            # Not returned to the pool: closing the connection releases the lock, even where
            # unlocking would fail.
            stack.callback(connection.invalidate)
            with _telling(name, find_holder):
                connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
            _name_session(connection, purpose)
        except SQLAlchemyError as error:
            raise StoreError(
                where=f"lock {name}",
                wanted="to reach the database",
                got=str(error).splitlines()[0],
                then="check CLOSEDLOOP_DATABASE_URL",
            ) from error
        yield


def _name_session(connection: Connection, purpose: str) -> None:
    connection.execute(
        text("SELECT set_config('application_name', :name, false)"), {"name": _introduce(purpose)}
    )


def _introduce(purpose: str) -> str:
    """Who holds the lock since when, in the 63 characters that PostgreSQL keeps."""
    now = f"{datetime.now(UTC):%m-%d %H:%M:%S} UTC"
    return f"{purpose} since {now}, process {os.getpid()} on {socket.gethostname()}"[:63]


@contextmanager
def _telling(name: str, find_holder: Callable[[], str]) -> Iterator[None]:
    """Say on stderr for whom the block waits: after a second, and then once a minute."""
    over = Event()

    def tell() -> None:
        pause = _FIRST_WORD_SECONDS
        while not over.wait(pause):
            pause, holder = _NEXT_WORD_SECONDS, ""
            with suppress(OSError, ValueError, SQLAlchemyError):
                holder = find_holder()
            sys.stderr.write(f"closedloop: waiting for {holder or _UNKNOWN} (lock {name})\n")
            sys.stderr.flush()

    teller = Thread(target=tell, name="tell-who-is-waited-for", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
