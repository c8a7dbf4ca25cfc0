"""Fixtures that start and stop a real PostgreSQL of their own, if it is installed.

`postgres` is the cluster (it can be stopped and started), `postgres_url` the address of a new,
empty database in it. A test module imports both names.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool


def find_programs() -> Path | None:
    """The folder of the newest initdb and pg_ctl; None when no PostgreSQL server is installed."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    found = [str(path) for path in installed] + [path for path in (shutil.which("initdb"),) if path]
    folders = [Path(path).resolve().parent for path in found]
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


def find_owner() -> str | None:
    """The user whose the server shall be, None for this one: PostgreSQL refuses to run as root."""
    if os.getuid():
        return None
    return "postgres" if "postgres" in {user.pw_name for user in pwd.getpwall()} else "nobody"


@dataclass
class Cluster:
    """A temporary PostgreSQL that listens only on a Unix socket in its folder."""

    programs: Path
    folder: Path
    owner: str | None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    opened: list[psycopg.Connection] = field(default_factory=list)

    def create(self) -> None:
        if self.owner:
            shutil.chown(self.folder, self.owner)
        self._run(
            "initdb",
            "-D",
            "data",
            "-U",
            "closedloop",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        self.start()

    def start(self) -> None:
        options = (
            f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' "
            "-c fsync=off -c max_connections=50"
        )
        self._run("pg_ctl", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def remember(self, connection: object, _record: object) -> None:
        """Called with each connection that a pool of this process opens."""
        if isinstance(connection, psycopg.Connection):
            self.opened.append(connection)

    def close_connections(self) -> None:
        """Those that a test left open would warn when they are collected, in any later test."""
        while self.opened:
            self.opened.pop().close()

    def make_database(self) -> str:
        """SQLAlchemy address of a new, empty database."""
        name = f"test_{next(self.numbers)}"
        self._run("createdb", "-h", str(self.folder), "-U", "closedloop", name)
        return f"postgresql://closedloop@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to run as root.
        as_owner = (
            {"user": self.owner, "group": pwd.getpwnam(self.owner).pw_gid, "extra_groups": []}
            if self.owner
            else {}
        )
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            **as_owner,
        )  # type: ignore[call-overload]
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(
                f"{program} failed: {done.stderr}\n{log.read_text() if log.exists() else ''}"
            )


_RUNNING = pytest.StashKey[Cluster]()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Cluster:
    # For pytest, a fixture that several modules import is several fixtures; they share the cluster.
    config = request.config
    if _RUNNING not in config.stash:
        programs = find_programs()
        if programs is None:
            pytest.skip(
                "no PostgreSQL server (initdb) is installed: "
                "install it, for instance with apt-get install postgresql"
            )
        config.stash[_RUNNING] = _start(programs, config)
    return config.stash[_RUNNING]


def _start(programs: Path, config: pytest.Config) -> Cluster:
    """A new cluster, stopped and removed at the end of the test run."""
    # Not under tmp_path: other users cannot read pytest's folders, and the path of a socket has at
    # most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="closedloop-pg-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    cluster = Cluster(programs, folder, find_owner())
    cluster.create()
    config.add_cleanup(cluster.stop)  # cleanups run in reverse order
    event.listen(Pool, "connect", cluster.remember)
    return cluster


def close_connections(config: pytest.Config) -> None:
    """What the test that just ended left connected, if the cluster runs."""
    if (cluster := config.stash.get(_RUNNING, None)) is not None:
        cluster.close_connections()


@pytest.fixture
def postgres_url(postgres: Cluster) -> str:
    return postgres.make_database()
