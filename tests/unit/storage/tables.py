"""Databases with the tables of journal and records, empty, filled or of an older version.

A module that uses the fixtures imports them, and those of tests/postgres.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, text

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.records import tables as tables
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.storage import alert_tables as alert_tables  # adds its tables to the journal's
from closedloop.storage import journal_tables
from closedloop.storage.details import TurnDetails, WindowFacts
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.revisions import (
    OURS,
    VERSION_TABLE,
    Found,
    Revisions,
    read_revision,
)
from closedloop.storage.upgrade import prepare_tables
from tests.answers import describe_answers

LIVE = [journal_tables.METADATA, tables._METADATA]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEEP = Decision(Kind.RETRAINING, Action.KEEP, "month_004", (), None)
# A later revision as it might be: a new column, and a change that SQLite can only do by recreating
# the table.
NOTE = """
    op.add_column("outcomes", sa.Column("note", sa.Text, nullable=False, server_default="none"))
    with op.batch_alter_table("decisions") as batch:
        batch.alter_column(
            "window", existing_type=sa.String(200), type_=sa.String(400), existing_nullable=False
        )
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Each call returns the address of a new, empty database."""
    numbers = count(1)
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / f'loop{next(numbers)}.db'}"
    made: Callable[[], str] = request.getfixturevalue("postgres").make_database
    return made


@pytest.fixture
def engine(make_url: Callable[[], str]) -> Iterator[Engine]:
    engine = open_engine(make_url())
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'loop.db'}")
    yield engine
    engine.dispose()


def with_another(tmp_path: Path, upgrade: str = NOTE) -> Revisions:
    """Our revisions and another one, `later`, which runs `upgrade`."""
    folder = tmp_path / f"revisions_{next(NUMBERS)}"
    shutil.copytree(OURS.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    header = (
        f'import sqlalchemy as sa\nrevision, down_revision = "later", "{OURS.head}"\n'
        "def upgrade(op):\n"
    )
    (folder / "later_note.py").write_text(header + upgrade)
    return Revisions(folder, (*OURS.names, "later"))


NUMBERS = count(1)


def fill(engine: Engine) -> None:
    """Two decisions, one caused by the other, with an outcome; an answer with a key; a label."""
    journal, records = Journal(engine, now=lambda: NOON), Records(engine, now=lambda: NOON)
    first = journal.write("a", "shop", KEEP, details=TurnDetails(window=WindowFacts(7)))
    journal.supersede(journal.write("b", "shop", KEEP, cause=first.id), reason="as decided")
    answer = describe_answers(
        "shop",
        3,
        {"spend": [1.5, 2.5]},
        {"False": [0.2] * 2, "True": [0.8] * 2},
        request="r",
        keys=["k1", None],
    )
    records.append([answer])
    assert records.label_many([Label("True", id="r-000001")])
    records.close()


def rows_of(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows by table, without the table of the revision."""
    tables, parts = sa.MetaData(), partitions_of(engine)
    tables.reflect(engine, only=lambda name, _: name not in parts)
    with engine.begin() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    sa.select(table).order_by(*(table.primary_key or table.c))
                ).mappings()
            ]
            for table in tables.sorted_tables
            if table.name != VERSION_TABLE
        }


def partitions_of(engine: Engine) -> set[str]:
    """The partitions of all tables, which SQLAlchemy counts as tables."""
    if engine.dialect.name == "sqlite":
        return set()
    with engine.begin() as connection:
        found = connection.execute(text("SELECT relname FROM pg_class WHERE relispartition"))
        return set(found.scalars())


def found_in(engine: Engine) -> Found:
    with engine.begin() as connection:
        return read_revision(connection)


# The rows of `fill` as they were written before there were revisions.
FIRST_ROWS = [
    """INSERT INTO decisions
           ("key", use_case, kind, "action", "window", checks, details, cause, "at")
       VALUES
           ('a', 'shop', 'retraining', 'keep', 'month_004', '[]', '{"rows": 7}', NULL,
            '2026-11-20 12:00:00.000000'),
           ('b', 'shop', 'retraining', 'keep', 'month_004', '[]', '{}', 1,
            '2026-11-20 12:00:00.000000')""",
    """INSERT INTO outcomes (decision, outcome, detail, "at")
       VALUES (2, 'done', 'as decided', '2026-11-20 12:00:00.000000')""",
    """INSERT INTO answers
           (request, use_case, version, "at", "rows", features, probabilities, row_keys)
       VALUES
           ('r', 'shop', 3, '2026-11-20 12:00:00.000000', 2, '{"spend": [1.5, 2.5]}',
            '{"True": [0.8, 0.8]}', '["k1", null]')""",
    """INSERT INTO answer_keys VALUES ('shop', 'k1', '2026-11-20 12:00:00.000000', 'r', 0)""",
    """INSERT INTO answer_labels VALUES ('r-000001', 'r', 'True', '2026-11-20 12:00:00.000000')""",
]


def fill_as_before(engine: Engine) -> None:
    """A database as the version before the revisions left it behind."""
    prepare_tables(engine, Revisions(OURS.folder, OURS.names[:1]))
    with engine.begin() as connection:
        for statement in FIRST_ROWS:
            connection.exec_driver_sql(statement)
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))


def same_rows(
    after: dict[str, list[dict[str, Any]]], before: dict[str, list[dict[str, Any]]]
) -> bool:
    """Whether every row of `before` is still there, with every value."""
    return {
        table: [{name: row[name] for name in before[table][0]} for row in after[table]]
        for table in before
        if before[table]
    } == {table: rows for table, rows in before.items() if rows}
