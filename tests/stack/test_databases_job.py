"""The databases job and the one of MLflow's users on a real PostgreSQL: every role and every user
have the password of the environment."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import psycopg
import pytest

from tests.postgres import Cluster, postgres
from tests.stack.own_stack import ROOT

__all__ = ["postgres"]


def load(name: str) -> ModuleType:
    """A job of stack/jobs."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "stack" / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def job(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """stack/jobs/databases.py, with the environment of its service."""
    for name in ("MLFLOW", "PREFECT", "CLOSEDLOOP"):
        monkeypatch.setenv(f"{name}_DB_PASSWORD", f"{name}-first-password")
    monkeypatch.setenv("PGHOST", str(postgres.folder))
    monkeypatch.setenv("PGUSER", "closedloop")
    return load("databases")


def test_mlflows_users_follow_the_environment(
    job: ModuleType, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On empty tables all are made; a changed password is theirs from then on, and no other
    user's; the same one leaves the hash alone. MLflow's own store says whom it lets in, and who may
    do everything."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    users = ("admin", "promoter", "trainer", "reader")

    def lets_in(word: str) -> list[bool]:
        return [store.authenticate_user(name, f"{name}-{word}-password") for name in users]

    def run(word: str) -> None:
        for name in users:
            monkeypatch.setenv(f"MLFLOW_{name.upper()}_PASSWORD", f"{name}-{word}-password")
        load("mlflow_users").set_users(database)

    job.prepare_databases()
    database = f"postgresql+psycopg://mlflow@/mlflow?host={postgres.folder}"
    run("first")
    store = SqlAlchemyStore()
    store.init_db(database)
    try:
        assert [store.get_user(name).is_admin for name in users] == [True, False, False, False]
        store.create_user("friend", "friend-first-password")
        before = [user.password_hash for user in store.list_users()]
        run("first")
        assert [user.password_hash for user in store.list_users()] == before
        run("second")
        assert (lets_in("first"), lets_in("second")) == ([False] * 4, [True] * 4)
        assert [store.get_user(name).is_admin for name in users] == [True, False, False, False]
        assert store.authenticate_user("friend", "friend-first-password")
    finally:
        store.engine.dispose()


def test_the_job_may_run_again(job: ModuleType, postgres: Cluster) -> None:
    """A second run finds everything there: three databases, each owned by the role of its name, and
    closed to all others."""
    job.prepare_databases()
    job.prepare_databases()
    with psycopg.connect(
        host=str(postgres.folder), user="closedloop", dbname="postgres"
    ) as connection:
        owned = connection.execute(
            "SELECT datname, pg_get_userbyid(datdba), datacl::text FROM pg_database "
            "WHERE datname = ANY(%s)",
            [list(job.NAMES)],
        ).fetchall()
    assert {(name, owner) for name, owner, _ in owned} == {(name, name) for name in job.NAMES}
    assert not [rights for _, _, rights in owned if rights.startswith("{=") or ",=" in rights]
