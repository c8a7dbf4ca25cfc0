"""The tables of journal and records, from revision to revision: nothing is lost, on SQLite and on a
real PostgreSQL."""

from __future__ import annotations

import logging
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import StoreError
from closedloop.records import tables as record_tables
from closedloop.records.request import describe_answers
from closedloop.records.store import RecordCounts, Records
from closedloop.storage import journal as journal_module
from closedloop.storage import revisions
from closedloop.storage.details import TurnDetails, WindowFacts
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.revisions import (
    OURS,
    VERSION_TABLE,
    Found,
    History,
    Upgrade,
    plan_upgrade,
    read_revision,
)
from closedloop.storage.upgrade import prepare_tables, upgrade_tables
from tests.postgres import postgres, postgres_url  # noqa: F401

LIVE = [journal_module._METADATA, record_tables._METADATA]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEEP = Decision(Kind.RETRAINING, Action.KEEP, "month_004", (), None)
# A later revision, as somebody might write it: a column more, and one that SQLite can only change
# by making the table anew.
NOTE = """
    op.add_column("outcomes", sa.Column("note", sa.Text, nullable=False, server_default="none"))
    with op.batch_alter_table("decisions") as batch:
        batch.alter_column("window", existing_type=sa.String(200), type_=sa.String(400), existing_nullable=False)
"""
# Waits in the middle of it until its input ends, which it does not.
HALF = """
    import sys
    op.add_column("outcomes", sa.Column("note", sa.Text, nullable=False, server_default="none"))
    op.execute("DELETE FROM outcomes")
    print("half", flush=True)
    sys.stdin.read()
"""
# Upgrades when it is told to, and prints whether there was anything to do.
UPGRADER = """
import sys
from pathlib import Path
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import History
from closedloop.storage.upgrade import upgrade_tables
url, folder, *revisions = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
print(upgrade_tables(open_engine(url), History(Path(folder), tuple(revisions))).needed, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Each call is the address of another empty database."""
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


def with_another(tmp_path: Path, upgrade: str = NOTE) -> History:
    """Our revisions and one more, `later`, which does what is given."""
    folder = tmp_path / f"revisions_{next(NUMBERS)}"
    shutil.copytree(OURS.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    header = f'import sqlalchemy as sa\nrevision, down_revision = "later", "{OURS.head}"\ndef upgrade(op):\n'
    (folder / "later_note.py").write_text(header + upgrade)
    return History(folder, (*OURS.revisions, "later"))


NUMBERS = count(1)


def fill(engine: Engine) -> None:
    """Two decisions, one of which led to the other, with what came of them; an answer with its
    keys; a label."""
    journal, records = Journal(engine, now=lambda: NOON), Records(engine, now=lambda: NOON)
    first = journal.write("a", "shop", KEEP, details=TurnDetails(window=WindowFacts(7)))
    journal.supersede(journal.write("b", "shop", KEEP, cause=first.id), reason="as said")
    answer = describe_answers(
        "shop",
        3,
        {"spend": [1.5, 2.5]},
        {"False": [0.2] * 2, "True": [0.8] * 2},
        request="r",
        keys=["k1", None],
    )
    records.append([answer])
    assert records.label("r-000001", "True")
    records.close()


def rows_of(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but the revision's, by table."""
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    sa.select(table).order_by(*table.primary_key)
                ).mappings()
            ]
            for table in tables.sorted_tables
            if table.name != VERSION_TABLE
        }


def found_in(engine: Engine) -> Found:
    with engine.begin() as connection:
        return read_revision(connection)


# The same rows, as they were written before there were revisions.
FIRST_ROWS = [
    """INSERT INTO decisions ("key", use_case, kind, "action", "window", checks, details, cause, "at") VALUES
       ('a', 'shop', 'retraining', 'keep', 'month_004', '[]', '{"rows": 7}', NULL, '2026-11-20 12:00:00.000000'),
       ('b', 'shop', 'retraining', 'keep', 'month_004', '[]', '{}', 1, '2026-11-20 12:00:00.000000')""",
    """INSERT INTO outcomes (decision, outcome, detail, "at") VALUES (2, 'done', 'as said', '2026-11-20 12:00:00.000000')""",
    """INSERT INTO answers (request, use_case, version, "at", "rows", features, probabilities, row_keys) VALUES
       ('r', 'shop', 3, '2026-11-20 12:00:00.000000', 2, '{"spend": [1.5, 2.5]}', '{"True": [0.8, 0.8]}', '["k1", null]')""",
    """INSERT INTO answer_keys VALUES ('shop', 'k1', '2026-11-20 12:00:00.000000', 'r', 0)""",
    """INSERT INTO answer_labels VALUES ('r-000001', 'r', 'True', '2026-11-20 12:00:00.000000')""",
]


def fill_as_before(engine: Engine) -> None:
    """A database as the version before the revisions left it behind."""
    prepare_tables(engine, History(OURS.folder, OURS.revisions[:1]))
    with engine.begin() as connection:
        for statement in FIRST_ROWS:
            connection.exec_driver_sql(statement)
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))


def same_rows(
    after: dict[str, list[dict[str, Any]]], before: dict[str, list[dict[str, Any]]]
) -> bool:
    """Whether every row of before is there, with every value that it had."""
    return {
        table: [{name: row[name] for name in before[table][0]} for row in after[table]]
        for table in before
        if before[table]
    } == {table: rows for table, rows in before.items() if rows}


def stamp(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))


def shape_of(engine: Engine) -> dict[str, Any]:
    """Columns, keys, constraints and indexes with their names, and SQLite's tables without row
    ids."""
    look = sa.inspect(engine)
    shape: dict[str, Any] = {}
    for table in sorted(set(look.get_table_names()) - {VERSION_TABLE}):
        columns = sorted(
            (one["name"], repr(one["type"]), one["nullable"], one["default"])
            for one in look.get_columns(table)
        )
        uniques = sorted(map(repr, look.get_unique_constraints(table)))
        indexes = sorted(map(repr, look.get_indexes(table)))
        shape[table] = (
            columns,
            look.get_pk_constraint(table),
            look.get_foreign_keys(table),
            uniques,
            indexes,
        )
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            for row in connection.execute(text("PRAGMA table_list")).mappings():
                if row["name"] in shape:
                    shape[row["name"]] += (row["wr"],)
    return shape


def test_the_revisions_make_the_tables_that_the_program_uses(engine: Engine) -> None:
    """Whoever changes a table without a revision is told so, with the operations that the revision
    needs."""
    prepare_tables(engine)
    with engine.begin() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        missing = produce_migrations(context, LIVE).upgrade_ops  # type: ignore[arg-type]
    assert missing is not None
    code = render_python_code(missing, render_as_batch=True)
    assert missing.is_empty(), (
        f"no revision makes the tables what the program wants; see CONTRIBUTING.md, 'Change a table':\n{code}"
    )


def test_they_are_the_same_to_the_last_name(make_url: Callable[[], str]) -> None:
    """Keys, defaults, names of indexes and SQLite's lack of row ids, which Alembic does not
    compare, are the program's, too."""
    by_revisions, by_metadata = open_engine(make_url()), open_engine(make_url())
    prepare_tables(by_revisions)
    for metadata in LIVE:
        metadata.create_all(by_metadata)
    assert shape_of(by_revisions) == shape_of(by_metadata)
    assert len(shape_of(by_revisions)) == 6


def test_every_revision_is_listed_in_its_order() -> None:
    """The list that a service looks at without Alembic is what lies in the folder, each file named
    after its revision."""
    found = list(
        ScriptDirectory(str(OURS.folder), version_locations=[str(OURS.folder)]).walk_revisions()
    )
    assert tuple(one.revision for one in reversed(found)) == OURS.revisions
    assert all(Path(one.path).name.startswith(f"{one.revision}_") for one in found)


def test_an_empty_database_gets_all_tables_from_whoever_comes_first(
    make_url: Callable[[], str],
) -> None:
    """Journal or records make the tables of both and note the newest revision; an upgrade that is
    asked for does the same."""
    for first in (
        lambda engine: Journal(engine).history("shop"),
        lambda engine: Records(engine).count("shop"),
        upgrade_tables,
    ):
        engine = open_engine(make_url())
        assert plan_upgrade(engine, asked=False) == Upgrade(None, OURS.head, True)
        first(engine)
        assert found_in(engine) == Found(OURS.head, stamped=True)
        fill(engine)
        assert (
            upgrade_tables(engine) == plan_upgrade(engine) == Upgrade(OURS.head, OURS.head, False)
        )


def test_looking_makes_no_file(sqlite: Engine, tmp_path: Path) -> None:
    """Asking what an upgrade would do leaves a folder without a database as it is."""
    assert plan_upgrade(sqlite).needed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "missing",
    [(), ("answer_keys", "answer_labels", "answers", "record_probes"), ("outcomes", "decisions")],
)
def test_a_database_from_before_the_revisions_loses_nothing(
    engine: Engine, missing: tuple[str, ...]
) -> None:
    """It is taken for the first revision and says so from then on; what it lacks, because only one
    store was used, is made."""
    fill_as_before(engine)
    with engine.begin() as connection:
        for table in missing:
            connection.execute(text(f"DROP TABLE {table}"))
    before = rows_of(engine)
    assert found_in(engine) == Found("0001", stamped=False)
    done = upgrade_tables(engine)
    assert (done.before, done.after, done.needed) == ("0001", OURS.head, True)
    assert found_in(engine) == Found(OURS.head, stamped=True)
    after = rows_of(engine)
    assert same_rows(after, before)
    assert set(after) == {table for metadata in LIVE for table in metadata.tables}
    journal = Journal(engine)
    journal.write("c", "shop", KEEP)
    assert [one.key for one in journal.history("shop")] == (
        ["c"] if "decisions" in missing else ["a", "b", "c"]
    )
    assert Records(engine).count("shop") == (
        RecordCounts(0, 0) if "answers" in missing else RecordCounts(2, 1)
    )


@pytest.mark.slow
@pytest.mark.parametrize("older", [False, True])
def test_one_of_four_processes_does_it(
    make_url: Callable[[], str], tmp_path: Path, older: bool
) -> None:
    """Processes that meet an empty or an older database at the same moment all succeed, and one of
    them has changed it."""
    history, url = with_another(tmp_path), make_url()
    engine = open_engine(url)
    if older:
        fill(engine)
    command = [sys.executable, "-c", UPGRADER, url, str(history.folder), *history.revisions]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [one.stdout.readline() for one in racing] == ["ready\n"] * 4  # type: ignore[union-attr]
    for one in racing:
        one.stdin.write("go\n")  # type: ignore[union-attr]
        one.stdin.flush()  # type: ignore[union-attr]
    assert sorted(one.communicate(timeout=60)[0] for one in racing) == ["False\n"] * 3 + ["True\n"]
    assert found_in(engine) == Found("later", stamped=True)
    assert len(rows_of(engine)["outcomes"]) == (1 if older else 0)


def test_a_newer_database_is_refused_until_it_is_ours(engine: Engine) -> None:
    """Journal and records name both revisions and change nothing; the same objects go on once the
    database fits."""
    fill(engine)
    stamp(engine, "9999")
    before, journal, records = rows_of(engine), Journal(engine), Records(engine)
    answer = describe_answers(
        "shop", 3, {"spend": [1.0]}, {"False": [0.2], "True": [0.8]}, request="s"
    )
    uses: list[Callable[[], object]] = [
        lambda: journal.history("shop"),
        lambda: records.count("shop"),
        lambda: records.append([answer]),
        records.probe,
        lambda: upgrade_tables(engine),
        lambda: plan_upgrade(engine),
    ]
    for use in uses:
        with pytest.raises(
            StoreError,
            match=rf"revision {OURS.head} or older, got revision 9999, of a newer closedloop: update closedloop",
        ):
            use()
    assert rows_of(engine) == before
    stamp(engine, OURS.head)
    for use in uses:
        use()
    assert records.count("shop") == RecordCounts(3, 1)


def check_later(engine: Engine, before: dict[str, list[dict[str, Any]]]) -> None:
    """All rows are there, the changes too, and both stores go on."""
    journal, records = Journal(engine), Records(engine)
    assert [one.key for one in journal.history("shop")] == ["a", "b"]
    after = rows_of(engine)
    assert [row["note"] for row in after["outcomes"]] == ["none"]
    assert same_rows(after, before)
    assert sa.inspect(engine).get_columns("decisions")[5]["type"].length == 400  # type: ignore[attr-defined]
    journal.carried_out(journal.write("c", "shop", KEEP, cause=1))
    assert records.count("shop") == RecordCounts(2, 1)
    records.append(
        [
            describe_answers(
                "shop",
                3,
                {"spend": [1.0]},
                {"False": [0.2], "True": [0.8]},
                request="s",
                keys=["k2"],
            )
        ]
    )
    assert records.label("s-000000", "False")


def test_sqlite_is_upgraded_on_first_use_and_kept_as_it_was(
    sqlite: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The file of before lies beside it, as private, and works with the program of before; the log
    says once what was done."""
    fill(sqlite)
    (tmp_path / "loop.db").chmod(0o600)
    before, history = rows_of(sqlite), with_another(tmp_path)
    monkeypatch.setattr(revisions, "OURS", history)
    assert plan_upgrade(sqlite, asked=False) == Upgrade(OURS.head, "later", True)
    with caplog.at_level(logging.WARNING, "closedloop"):
        check_later(sqlite, before)
        prepare_tables(sqlite)
    copy = tmp_path / "loop.db.before-later"
    said = [one.message for one in caplog.records]
    assert len(said) == 1
    assert said[0].endswith(f"from revision {OURS.head} to later; the file as it was: {copy}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in sorted(tmp_path.glob("loop.db.*"))] == [
        "loop.db.before-later",
        "loop.db.lock",
    ]
    monkeypatch.undo()
    kept = open_engine(f"sqlite:///{copy}")
    assert rows_of(kept) == before
    assert [one.key for one in Journal(kept).history("shop")] == ["a", "b"]


def test_a_server_is_upgraded_when_somebody_asks(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL first use names both revisions and the command; after that the very same stores
    go on."""
    engine = open_engine(postgres_url)
    fill(engine)
    before, history = rows_of(engine), with_another(tmp_path)
    monkeypatch.setattr(revisions, "OURS", history)
    journal, records = Journal(engine), Records(engine)
    for use in (
        lambda: journal.history("shop"),
        records.probe,
        lambda: plan_upgrade(engine, asked=False),
    ):
        with pytest.raises(
            StoreError,
            match=rf"wanted the tables of revision later, got revision {OURS.head}: run: closedloop upgrade",
        ):
            use()
    assert plan_upgrade(engine) == Upgrade(OURS.head, "later", True)
    assert rows_of(engine) == before
    assert upgrade_tables(engine) == Upgrade(OURS.head, "later", True)
    assert upgrade_tables(engine) == Upgrade("later", "later", False)
    journal.history("shop")
    records.probe()
    check_later(engine, before)


def test_an_unstamped_database_is_brought_all_the_way(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before there were revisions to the newest in one go; on a server only when it is asked
    for."""
    fill_as_before(engine)
    before = rows_of(engine)
    monkeypatch.setattr(revisions, "OURS", with_another(tmp_path))
    if engine.dialect.name != "sqlite":
        with pytest.raises(StoreError, match="got revision 0001: run: closedloop upgrade"):
            Journal(engine).history("shop")
        assert rows_of(engine) == before
        upgrade_tables(engine)
    check_later(engine, before)


@pytest.mark.slow
def test_an_upgrade_that_is_killed_half_way_can_be_repeated(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle of a revision leaves the database as it was, and the next upgrade does
    all of it."""
    fill(engine)
    before, half = rows_of(engine), with_another(tmp_path, HALF)
    url = engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", UPGRADER, url, str(half.folder), *half.revisions],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as upgrading:
        assert upgrading.stdin is not None
        assert upgrading.stdout is not None
        upgrading.stdin.write("go\n")
        upgrading.stdin.flush()
        assert [upgrading.stdout.readline() for _ in range(2)] == ["ready\n", "half\n"]
        upgrading.kill()
    monkeypatch.setattr(revisions, "OURS", with_another(tmp_path))
    assert found_in(engine) == Found(OURS.head, stamped=True)
    assert rows_of(engine) == before
    upgrade_tables(engine)
    check_later(engine, before)
    assert list(tmp_path.glob("*.part*")) == []


@pytest.mark.parametrize(
    "fault", ["INSERT INTO outcomes (decision) VALUES (NULL)", "DELETE FROM decisions"]
)
def test_a_revision_that_fails_changes_nothing(engine: Engine, tmp_path: Path, fault: str) -> None:
    """A statement that is refused, or rows left without what they refer to, undo what was done
    before, and no copy is left about."""
    fill(engine)
    before = rows_of(engine)
    with pytest.raises(StoreError, match="nothing was changed"):
        upgrade_tables(engine, with_another(tmp_path, f'{NOTE}    op.execute("{fault}")\n'))
    assert rows_of(engine) == before
    assert found_in(engine) == Found(OURS.head, stamped=True)
    assert list(tmp_path.glob("*.before-*")) == []
    with (
        engine.begin() as connection,
        pytest.raises(sa.exc.IntegrityError),
    ):  # references are enforced again
        connection.execute(text("DELETE FROM decisions"))


def test_without_room_for_the_copy_nothing_is_upgraded(sqlite: Engine, tmp_path: Path) -> None:
    """A copy that cannot be written is a reason to leave the database as it is, and is said."""
    fill(sqlite)
    before = rows_of(sqlite)
    (tmp_path / "loop.db.before-later.part").mkdir()
    with pytest.raises(
        StoreError,
        match=r"loop\.db\.before-later\.part: wanted a copy of the database before it is upgraded",
    ):
        prepare_tables(sqlite, with_another(tmp_path))
    assert rows_of(sqlite) == before


def test_a_database_may_be_shared_with_mlflow_or_prefect(engine: Engine) -> None:
    """Their revision, in the table that Alembic names by default, is neither taken for ours nor
    touched."""
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        )
        connection.execute(text("INSERT INTO alembic_version VALUES ('1bd49d398cd23')"))
    fill(engine)
    assert rows_of(engine)["alembic_version"] == [{"version_num": "1bd49d398cd23"}]
    assert found_in(engine) == Found(OURS.head, stamped=True)


@pytest.mark.parametrize("new", [False, True])
def test_a_service_imports_alembic_only_where_there_is_something_to_do(
    make_url: Callable[[], str], new: bool
) -> None:
    """On a database that fits, journal and records are opened, read and written without it."""
    url = make_url()
    if not new:
        prepare_tables(open_engine(url))
    script = (
        "import sys\nfrom closedloop.storage.engine import open_engine\nfrom closedloop.storage.journal import Journal\n"
        "from closedloop.records.store import Records\nengine = open_engine(sys.argv[1])\nJournal(engine).history('shop')\n"
        "records = Records(engine)\nrecords.probe()\nrecords.append([])\nprint('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"{new}\n"
