"""What every test needs: no telemetry, quiet libraries, the same Hypothesis examples everywhere."""

from __future__ import annotations

import faulthandler
import gc
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import close_connections

# Set before any library is imported, because MLflow and Prefect read these once.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
for name, value in QUIET.items():
    os.environ.setdefault(name, value)
# The folders of tests lie in memory where there is room: else each commit of a database waits for
# the disk, which took a third of the time. A killed process loses nothing there either.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 2_000_000_000
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
    found = os.statvfs(MEMORY)
    if found.f_bavail * found.f_frsize > ROOM_BYTES and not found.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# A developer's own installation must not leak into a test.
for name in [
    name
    for name in os.environ
    if name.startswith("CLOSEDLOOP_") or name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL")
]:
    del os.environ[name]

# `HYPOTHESIS_PROFILE=searching` looks for new examples; the default is the same for everyone and
# has no deadline.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.register_profile("searching", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(autouse=True)
def close_what_a_test_left_connected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Autouse fixtures are set up first and torn down last."""
    yield
    close_connections(request.config)


@pytest.fixture(scope="session")
def make_mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Copy MLflow's empty tables into a home; its fifty migrations would take seconds per test."""
    from closedloop.registry.registry import Registry

    folder = tmp_path_factory.mktemp("mlflow-tables")
    Registry("none", f"sqlite:///{folder / 'mlflow.db'}", artifacts=folder, downloads=folder).ping()

    def make(home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        with (
            closing(sqlite3.connect(folder / "mlflow.db")) as made,
            closing(sqlite3.connect(home / "mlflow.db")) as copy,
        ):
            made.backup(copy)

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the last test of a file, close the databases that it left open."""
    done = yield
    if nextitem is None or nextitem.path != item.path:
        # MLflow keeps the connections to every database that it has seen, of each home one.
        for name in ("tracking", "model_registry"):
            if store := sys.modules.get(f"mlflow.store.{name}.sqlalchemy_store"):
                while engines := store.SqlAlchemyStore._engine_map:
                    engines.popitem()[1].dispose()
        # Ours are closed when they are collected; what is left are libraries, and not to be looked
        # through again and again.
        gc.collect()
        gc.freeze()
    return done


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on PostgreSQL start a server, so `make unit` leaves them out."""
    for item in items:
        if "[postgresql" in item.name or "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Fail when the process does not end within two minutes, and print what it waits for.

    A worker of pytest-xdist may wait longer, for the others.
    """
    gc.unfreeze()  # some libraries speak of leaks when their objects outlive the interpreter
    if hasattr(config, "workerinput"):
        return
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)
