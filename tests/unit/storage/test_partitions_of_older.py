"""A PostgreSQL of the version before partitions: its tables become one, while a service records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event, text

from closedloop.errors import StoreError
from closedloop.storage import partitions
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import OURS, Revisions, plan_upgrade
from closedloop.storage.upgrade import prepare_tables, upgrade_tables
from tests.postgres import postgres, postgres_url
from tests.unit.storage.partitioned import address_of, clock_of, found_in, next_month, where
from tests.unit.storage.tables import FIRST_ROWS, partitions_of, rows_of, tables

__all__ = ["postgres", "postgres_url"]


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


def fill_before(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """A database of the revision before partitions; returns its rows."""
    before = OURS.names[: OURS.names.index("0007")]
    prepare_tables(engine, Revisions(OURS.folder, before))
    answer = {"use_case": "shop", "version": 3, "rows": 1, "features": "{}", "probabilities": "{}"}
    now = clock_of(engine)
    times = {f"r{days}": now + timedelta(days=days) for days in (-400, -40, -1, 0, 40)}
    answers = [{"request": name, "at": at, **answer} for name, at in times.items()]
    key = {"use_case": "shop", "key": "k", "row": 0}
    keys = [{"request": name, "at": at, **key} for name, at in times.items()]
    with engine.begin() as connection:
        for statement in FIRST_ROWS:
            connection.exec_driver_sql(statement)
        connection.execute(sa.insert(tables.ANSWERS), answers)
        connection.execute(sa.insert(tables.KEYS), keys)
    return rows_of(engine)


def test_an_older_database_keeps_every_row_and_right(engine: Engine) -> None:
    """Its tables become the oldest partition, without what is later than this month by a clock that
    was ahead. Roles may do what they could, and nobody else."""
    before = fill_before(engine)
    with engine.begin() as connection:
        for role in ("reader", "writer"):
            found = connection.execute(text(f"SELECT to_regrole('{role}')")).scalar_one()
            if found is None:
                connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text("GRANT SELECT ON answers TO reader"))
        connection.execute(text("GRANT SELECT, INSERT ON answers, answer_keys TO writer"))
    done = upgrade_tables(engine)
    assert (done.before, done.after) == ("0006", OURS.head)
    assert rows_of(engine) == before
    oldest, *_, last = found_in(engine)
    places = where(engine)
    assert places.pop("r40") not in (oldest.name, last.name)
    assert set(places.values()) == {oldest.name}
    assert oldest.end == next_month(clock_of(engine))
    with engine.begin() as connection:
        rights = {
            (role, right, table)
            for role in ("reader", "writer")
            for table in partitions.TABLES
            for right in ("SELECT", "INSERT", "DELETE")
            if connection.execute(
                text(f"SELECT has_table_privilege('{role}', '{table}', '{right}')")
            ).scalar_one()
        }
    both = {
        ("writer", right, table) for right in ("SELECT", "INSERT") for table in partitions.TABLES
    }
    assert rights == {("reader", "SELECT", "answers"), *both}
    with psycopg.connect(address_of(engine), user="reader") as reading:
        assert len(reading.execute("SELECT * FROM answers").fetchall()) == 6
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reading.execute("DELETE FROM answers")


def test_an_upgrade_that_breaks_off_changes_nothing(engine: Engine) -> None:
    """The connection breaks before the second table has its partitions: the database is as it was,
    and the same upgrade does it."""
    before = fill_before(engine)
    killer = engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def kill(connection: Any, _: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("ALTER TABLE answer_keys ATTACH"):
            pid = connection.connection.driver_connection.info.backend_pid
            killer.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))

    event.listen(engine, "before_cursor_execute", kill)
    with pytest.raises(StoreError, match="nothing was changed"):
        upgrade_tables(engine)
    event.remove(engine, "before_cursor_execute", kill)
    killer.close()
    assert not partitions_of(engine)
    assert rows_of(engine) == before
    assert plan_upgrade(engine).before == "0006"
    assert upgrade_tables(engine).needed
    assert rows_of(engine) == before


def test_a_service_of_the_version_before_goes_on_recording(engine: Engine) -> None:
    """Over the connection that it opened before the upgrade, with the statements of that version,
    which the server has prepared."""
    fill_before(engine)
    answer = (
        'INSERT INTO answers ("request", "use_case", "version", "at", "rows", "features", '
        "\"probabilities\", \"row_keys\") VALUES (%s, 'shop', 3, now(), 1, '{}', '{}', '[\"k\"]')"
    )
    keys = (
        'INSERT INTO answer_keys (use_case, key, at, request, "row") '
        "SELECT a.use_case, k.value, a.at, a.request, k.ordinality - 1 FROM answers AS a, "
        "jsonb_array_elements_text(a.row_keys::jsonb) WITH ORDINALITY AS k(value, ordinality) "
        "WHERE a.request IN (%s) AND k.value IS NOT NULL"
    )
    with psycopg.connect(address_of(engine)) as serving:

        def record(name: str) -> None:
            for statement in (answer, keys):
                serving.execute(statement, [name], prepare=True)
            serving.commit()

        record("before")
        upgrade_tables(engine)
        record("after")
    assert {"before", "after"} <= set(where(engine))
