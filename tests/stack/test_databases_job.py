"""The databases job and the one of MLflow's users on a real PostgreSQL: every role and every user
have the password of the environment."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.upgrade import upgrade_tables
from closedloop.turn.serving_note import note_serving
from tests.answers import describe_answers
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
    for name in ("MLFLOW", "PREFECT", "CLOSEDLOOP", "CLOSEDLOOP_API"):
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


NOTE = (
    'INSERT INTO decisions (key, use_case, kind, action, "window", version, checks, details, at) '
    "VALUES ('{key}', 'shop', '{kind}', '{action}', 'w1', 2, '[]', '{{}}', now())"
)
FORBIDDEN = {
    "a promotion": NOTE.format(key="shop/serving/x", kind="promotion", action="promote"),
    "a note that promotes": NOTE.format(key="shop/serving/x", kind="serving", action="promote"),
    "the key of a turn": NOTE.format(key="shop/w2/promotion/x", kind="serving", action="serve"),
    "an outcome of a decision": "INSERT INTO outcomes SELECT id, 'done', '', now() FROM decisions "
    "WHERE kind = 'promotion'",
    "another action": "UPDATE decisions SET action = 'promote'",
    "no outcome": "DELETE FROM outcomes",
    "no decision": "DELETE FROM decisions",
    "an empty journal": "TRUNCATE decisions CASCADE",
    "no rules": "ALTER TABLE decisions DISABLE ROW LEVEL SECURITY",
    "a link": "INSERT INTO journal_chain (use_case, epoch, decision, entry, hash) "
    "VALUES ('shop', 0, 1, 'decision', 'x')",
    "another revision": "UPDATE closedloop_alembic_version SET version_num = '0001'",
    "no answers": "DELETE FROM answers",
    "other rows of an answer": "UPDATE answers SET features = '{}'",
    "the label of another": "UPDATE answer_labels SET prediction_id = 'x'",
    "another history": "UPDATE label_corrections SET replaced_by = 'somebody'",
    "no history": "DELETE FROM label_corrections",
    "a table": "CREATE TABLE mine (id int)",
}


def test_the_api_records_answers_and_cannot_write_decisions(
    job: ModuleType, postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own role: answers, labels, a corrected label and the note of what is served go
    through, and whatever could move production is refused by the server. Granted twice, as each
    time the stack comes up."""
    job.prepare_databases()
    owner = f"postgresql+psycopg://closedloop@/closedloop?host={postgres.folder}"
    monkeypatch.setenv("CLOSEDLOOP_DATABASE_URL", owner)
    upgrade_tables(open_engine(owner))
    for _ in range(2):
        load("api_role").grant_rights()
    decision = Decision(Kind.PROMOTION, Action.REJECT, "w1", (), 2)
    kept = Journal(open_engine(owner))
    kept.write("shop/w1/promotion", "shop", decision)

    engine = open_engine(owner.replace("closedloop@", "closedloop_api@"))
    journal, records = Journal(engine), Records(engine)
    for _ in range(2):
        note = note_serving(journal, "shop", 2, window="w1", where="here", started="now")
    assert note.decision.action is Action.SERVE
    assert journal.entry(note.id).outcome == "done"
    records.probe()
    columns, classes = {"spend": [1.5]}, {"False": [0.2], "True": [0.8]}
    records.append([describe_answers("shop", 3, columns, classes, request="r", keys=["k"])])
    assert records.label_many([Label("True", id="r-000000")])
    assert records.label_many([Label("False", key="k", replaces=True)], "shop")
    assert records.count("shop").labels == 1
    refused = pytest.raises(ProgrammingError, match=r"permission denied|row-level|must be owner")
    for statement in FORBIDDEN.values():
        with refused, engine.begin() as connection:
            connection.execute(text(statement))
    assert kept.read_chain("shop").faults == ()
    records.close()
    engine.dispose()
