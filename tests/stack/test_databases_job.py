"""The databases job on a real PostgreSQL: every role, and MLflow's admin, has the password that the environment has now."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import psycopg
import pytest

from tests.postgres import Cluster, postgres
from tests.stack.own_stack import ROOT

__all__ = ["postgres"]


@pytest.fixture
def job(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """stack/jobs/databases.py, with the environment of its service."""
    for name in ("MLFLOW_DB", "PREFECT_DB", "CLOSEDLOOP_DB", "MLFLOW_ADMIN"):
        monkeypatch.setenv(f"{name}_PASSWORD", f"{name}-first-password")
    monkeypatch.setenv("PGHOST", str(postgres.folder))
    monkeypatch.setenv("PGUSER", "closedloop")
    spec = importlib.util.spec_from_file_location("databases", ROOT / "stack" / "jobs" / "databases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mlflows_admin_follows_the_environment(job: ModuleType, postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before MLflow made its users nothing is done; a changed password is the admin's from then on, and no other user's; the same one
    leaves the hash alone. MLflow's own store says whom it lets in."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    job.prepare_databases()
    job.set_admin_password()
    store = SqlAlchemyStore()
    store.init_db(f"postgresql+psycopg://mlflow@/mlflow?host={postgres.folder}")
    try:
        store.create_user("admin", "MLFLOW_ADMIN-first-password", is_admin=True)
        store.create_user("friend", "MLFLOW_ADMIN-first-password")
        before = store.get_user("admin").password_hash
        job.set_admin_password()
        assert store.get_user("admin").password_hash == before
        monkeypatch.setenv("MLFLOW_ADMIN_PASSWORD", "MLFLOW_ADMIN-second-password")
        job.set_admin_password()
        passwords = ("MLFLOW_ADMIN-first-password", "MLFLOW_ADMIN-second-password")
        assert [store.authenticate_user("admin", password) for password in passwords] == [False, True]
        assert store.authenticate_user("friend", "MLFLOW_ADMIN-first-password")
        assert store.get_user("admin").is_admin
    finally:
        store.engine.dispose()


def test_the_job_may_run_again(job: ModuleType, postgres: Cluster) -> None:
    """A second run finds everything there: three databases, each owned by the role of its name, and closed to all others."""
    job.prepare_databases()
    job.prepare_databases()
    with psycopg.connect(host=str(postgres.folder), user="closedloop", dbname="postgres") as connection:
        owned = connection.execute("SELECT datname, pg_get_userbyid(datdba), datacl::text FROM pg_database WHERE datname = ANY(%s)",
                                   [list(job.NAMES)]).fetchall()  # fmt: skip
    assert {(name, owner) for name, owner, _ in owned} == {(name, name) for name in job.NAMES}
    assert not [rights for _, _, rights in owned if rights.startswith("{=") or ",=" in rights]
