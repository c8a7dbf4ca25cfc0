"""The revisions of the tables: they create what the program uses, and no row is ever lost.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from closedloop.errors import StoreError
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.revisions import (
    OURS,
    VERSION_TABLE,
    Found,
    Revisions,
    Upgrade,
    plan_upgrade,
)
from closedloop.storage.upgrade import prepare_tables, upgrade_tables
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.storage.tables import (  # noqa: F401
    KEEP,
    LIVE,
    NOON,
    engine,
    fill,
    fill_as_before,
    found_in,
    make_url,
    partitions_of,
    rows_of,
    same_rows,
    sqlite,
    tables,
)


def stamp(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))


def shape_of(engine: Engine) -> dict[str, Any]:
    """Columns, keys, constraints and indexes with names; on SQLite also whether it has row ids."""
    inspector = sa.inspect(engine)
    shape: dict[str, Any] = {}
    for table in sorted(set(inspector.get_table_names()) - {VERSION_TABLE} - partitions_of(engine)):
        columns = sorted(
            (column["name"], repr(column["type"]), column["nullable"], column["default"])
            for column in inspector.get_columns(table)
        )
        uniques = sorted(map(repr, inspector.get_unique_constraints(table)))
        indexes = sorted(map(repr, inspector.get_indexes(table)))
        shape[table] = (
            columns,
            inspector.get_pk_constraint(table),
            inspector.get_foreign_keys(table),
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
    """After changing a table without a revision, this fails and prints the missing operations."""
    prepare_tables(engine)
    parts = partitions_of(engine)
    with engine.begin() as connection:
        opts = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            "include_name": lambda name, *_: name not in parts,
        }
        context = MigrationContext.configure(connection, opts=opts)
        missing = produce_migrations(context, LIVE).upgrade_ops  # type: ignore[arg-type]
    assert missing is not None
    code = render_python_code(missing, render_as_batch=True)
    assert missing.is_empty(), (
        "the revisions do not create the tables of the program; "
        f"see CONTRIBUTING.md, 'Change a table':\n{code}"
    )


def test_they_are_the_same_to_the_last_name(make_url: Callable[[], str]) -> None:
    """Keys, defaults, names of indexes and row ids, which Alembic does not compare, are equal."""
    by_revisions, by_metadata = open_engine(make_url()), open_engine(make_url())
    prepare_tables(by_revisions)
    for metadata in LIVE:
        metadata.create_all(by_metadata)
    assert shape_of(by_revisions) == shape_of(by_metadata)
    assert len(shape_of(by_revisions)) == 13


def test_every_revision_is_listed_in_its_order() -> None:
    """The list that is read without Alembic matches the folder, and each file is named after its
    revision."""
    found = list(
        ScriptDirectory(str(OURS.folder), version_locations=[str(OURS.folder)]).walk_revisions()
    )
    assert tuple(script.revision for script in reversed(found)) == OURS.names
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in found)


def test_an_empty_database_gets_all_tables_on_first_use(
    make_url: Callable[[], str],
) -> None:
    """Journal or records create the tables of both and write the newest revision; so does a
    requested upgrade."""
    for first in (
        lambda engine: Journal(engine).history("shop"),
        lambda engine: Records(engine).count("shop"),
        upgrade_tables,
    ):
        engine = open_engine(make_url())
        assert plan_upgrade(engine, requested=False) == Upgrade(None, OURS.head, True)
        first(engine)
        assert found_in(engine) == Found(OURS.head, stamped=True)
        fill(engine)
        assert (
            upgrade_tables(engine) == plan_upgrade(engine) == Upgrade(OURS.head, OURS.head, False)
        )


def test_planning_creates_no_file(sqlite: Engine, tmp_path: Path) -> None:
    """Planning an upgrade creates no database."""
    assert plan_upgrade(sqlite).needed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "missing",
    [(), ("answer_keys", "answer_labels", "answers", "record_probes"), ("outcomes", "decisions")],
)
def test_a_database_from_before_the_revisions_loses_nothing(
    engine: Engine, missing: tuple[str, ...]
) -> None:
    """It counts as the first revision and is stamped; missing tables, because only the journal or
    only the records were used, are created."""
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
    assert [entry.key for entry in journal.history("shop")] == (
        ["c"] if "decisions" in missing else ["a", "b", "c"]
    )
    assert Records(engine).count("shop") == (
        RecordCounts(0, 0) if "answers" in missing else RecordCounts(2, 1)
    )


def test_a_newer_database_is_refused_until_it_fits(engine: Engine) -> None:
    """Journal and records name both revisions and change nothing; the same objects work once the
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
            match=rf"revision {OURS.head} or older, got revision 9999, of a newer closedloop: "
            "update closedloop",
        ):
            use()
    assert rows_of(engine) == before
    stamp(engine, OURS.head)
    for use in uses:
        use()
    assert records.count("shop") == RecordCounts(3, 1)


def test_a_database_may_be_shared_with_mlflow_or_prefect(engine: Engine) -> None:
    """Their revision, in Alembic's default table, is not taken for ours and not changed."""
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        )
        connection.execute(text("INSERT INTO alembic_version VALUES ('1bd49d398cd23')"))
    fill(engine)
    assert rows_of(engine)["alembic_version"] == [{"version_num": "1bd49d398cd23"}]
    assert found_in(engine) == Found(OURS.head, stamped=True)


@pytest.mark.parametrize("new", [False, True])
def test_a_service_imports_alembic_only_for_an_upgrade(
    make_url: Callable[[], str], new: bool
) -> None:
    """On a database that fits, journal and records work without Alembic."""
    url = make_url()
    if not new:
        prepare_tables(open_engine(url))
    script = (
        "import sys\n"
        "from closedloop.storage.engine import open_engine\n"
        "from closedloop.storage.journal import Journal\n"
        "from closedloop.records.store import Records\n"
        "engine = open_engine(sys.argv[1])\n"
        "Journal(engine).history('shop')\n"
        "records = Records(engine)\n"
        "records.probe()\n"
        "records.append([])\n"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"{new}\n"


def test_labels_that_were_corrected_move_to_their_history(make_url: Callable[[], str]) -> None:
    """What stood among the labels as ID~1 and ID~2 has its number and the time of the next one;
    labels that were never corrected stay as they are."""
    engine = open_engine(make_url())
    prepare_tables(engine, Revisions(OURS.folder, OURS.names[: OURS.names.index("0006")]))
    hours = [NOON + timedelta(hours=hour) for hour in range(3)]
    rows = [("r-000000~1", "True"), ("r-000000~2", "False"), ("r-000000", "Perhaps")]
    labels = [
        {"prediction_id": id, "request": "r", "label": label, "at": at}
        for (id, label), at in zip(rows, hours, strict=True)
    ]
    labels.append({"prediction_id": "s-000000", "request": "s", "label": "True", "at": NOON})
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.LABELS), labels)
    upgrade_tables(engine)
    found = rows_of(engine)
    assert [row["prediction_id"] for row in found["answer_labels"]] == ["r-000000", "s-000000"]
    with engine.connect() as connection:
        history = connection.execute(sa.select(tables.CORRECTIONS)).all()
    assert [tuple(row) for row in history] == [
        ("r-000000", 1, "r", "True", hours[0], hours[1], None),
        ("r-000000", 2, "r", "False", hours[1], hours[2], None),
    ]
