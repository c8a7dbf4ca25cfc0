"""MLflow's database on this machine: processes that are killed or meet while they make or upgrade
it leave nothing half made, and a damaged file is named."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event

from closedloop.errors import RegistryError
from closedloop.registry.registry import Registry

pytestmark = pytest.mark.slow

FORK = get_context("fork")  # MLflow is imported once
EARLY, MIDDLE, LATE = 5, 300, 900  # statements; all of MLflow's tables take about a thousand


@pytest.fixture(scope="module", autouse=True)
def mlflow_imported() -> None:
    import mlflow.store.db.utils  # noqa: F401


def ask(home: Path) -> None:
    """What the first command of a home asks of MLflow."""
    Registry(
        "shop",
        f"sqlite:///{home / 'mlflow.db'}",
        artifacts=home / "artifacts",
        downloads=home / "bundles",
    ).ping()


def ask_until(home: Path, statements: int) -> None:
    """As `ask`, but the process is killed after that many statements."""
    left = iter(range(statements))

    def count(*_: object) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", count)
    ask(home)


def leave_after(what: Callable[..., None], *given: object) -> None:
    """End a forked process without what libraries of other tests registered for its end."""
    what(*given)
    os._exit(0)


def run(what: Callable[..., None], *given: object) -> int | None:
    """The exit code of a process of its own."""
    process = FORK.Process(target=leave_after, args=(what, *given))
    process.start()
    process.join()
    return process.exitcode


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def make_older(path: Path, *, used: bool) -> str:
    """MLflow's tables without its newest revision, and with an experiment or not; the revision."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    settings = _get_alembic_config(f"sqlite:///{path}")
    older = str(ScriptDirectory.from_config(settings).get_revision("heads").down_revision)
    command.upgrade(settings, older)
    if used:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace) "
                "VALUES (7, 'shop', 'active', 'default')"
            )
    engine.dispose()
    return older


def test_a_killed_first_command_ruins_nothing(tmp_path: Path) -> None:
    """Killed early, in the middle or late while MLflow makes its tables: the next process makes
    them, and nothing of the dead ones is left."""
    for statements in (EARLY, MIDDLE, LATE):
        assert run(ask_until, tmp_path, statements) == -signal.SIGKILL
        assert not (tmp_path / "mlflow.db").exists()
    assert run(ask, tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_two_first_commands_at_once_make_one_database(tmp_path: Path) -> None:
    """Both end well, whoever is first, and also where an older version was killed: tables that it
    left half made, with nothing in them, keep nobody out for ever."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        connection.execute("CREATE TABLE runs (run_uuid TEXT)")
    both = [FORK.Process(target=leave_after, args=(ask, tmp_path)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]


def test_an_older_database_is_upgraded_whole_or_not_at_all(tmp_path: Path) -> None:
    """A killed upgrade leaves the old tables; the next one brings what is in them, and keeps a copy
    of the file as it was."""
    path = tmp_path / "mlflow.db"
    older = make_older(path, used=True)
    revision = "SELECT version_num FROM alembic_version"
    assert run(ask_until, tmp_path, 3) == -signal.SIGKILL
    assert read(path, revision) == [(older,)]
    assert run(ask, tmp_path) == 0
    assert read(path, revision) != [(older,)]
    assert ("shop",) in read(path, "SELECT name FROM experiments")
    (copy,) = tmp_path.glob("mlflow.db.before-*")
    assert read(copy, revision) == [(older,)]


def test_a_database_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Neither junk nor a newer MLflow's tables are touched; the sentence says what to do. An empty
    file is as good as none."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"")
    assert run(ask, tmp_path) == 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '999'")
    before = path.read_bytes()
    with pytest.raises(
        RegistryError, match=r"mlflow\.db: wanted tables of this MLflow or an older"
    ):
        ask(tmp_path)
    assert path.read_bytes() == before
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(RegistryError, match=r"mlflow\.db: .*not a database: put a backup in"):
        ask(tmp_path)
