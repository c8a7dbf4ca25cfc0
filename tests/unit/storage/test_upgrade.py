"""Upgrades of the tables: who runs them, what they keep, and what is left when they fail.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, text

from closedloop.errors import StoreError
from closedloop.records.labels import Label
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.storage import revisions
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.revisions import (
    OURS,
    Found,
    Upgrade,
    plan_upgrade,
)
from closedloop.storage.upgrade import prepare_tables, upgrade_tables
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.storage.tables import (  # noqa: F401
    KEEP,
    NOTE,
    engine,
    fill,
    fill_as_before,
    found_in,
    make_url,
    rows_of,
    same_rows,
    sqlite,
    with_another,
)

# Waits in the middle of a revision until its input ends, which does not happen.
HALF = """
    import sys
    op.add_column("outcomes", sa.Column("note", sa.Text, nullable=False, server_default="none"))
    op.execute("DELETE FROM outcomes")
    print("half", flush=True)
    sys.stdin.read()
"""
# Upgrades after a line of input, and prints whether an upgrade was needed.
UPGRADER = """
import sys
from pathlib import Path
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import Revisions
from closedloop.storage.upgrade import upgrade_tables
url, folder, *revisions = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
done = upgrade_tables(open_engine(url), Revisions(Path(folder), tuple(revisions)))
print(done.needed, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("older", [False, True])
def test_one_of_four_processes_does_it(
    make_url: Callable[[], str], tmp_path: Path, older: bool
) -> None:
    """Processes that open an empty or an older database at the same moment all succeed, and exactly
    one has upgraded it."""
    history, url = with_another(tmp_path), make_url()
    engine = open_engine(url)
    if older:
        fill(engine)
    command = [sys.executable, "-c", UPGRADER, url, str(history.folder), *history.names]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.stdout.readline() for process in racing] == ["ready\n"] * 4  # type: ignore[union-attr]
    for process in racing:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    printed = sorted(process.communicate(timeout=60)[0] for process in racing)
    assert printed == ["False\n"] * 3 + ["True\n"]
    assert found_in(engine) == Found("later", stamped=True)
    assert len(rows_of(engine)["outcomes"]) == (1 if older else 0)


def check_later(engine: Engine, before: dict[str, list[dict[str, Any]]]) -> None:
    """All rows and the changes of `NOTE` are there, and both stores still work."""
    journal, records = Journal(engine), Records(engine)
    assert [entry.key for entry in journal.history("shop")] == ["a", "b"]
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
    assert records.label_many([Label("False", id="s-000000")])


def test_sqlite_is_upgraded_on_first_use_and_kept_as_it_was(
    sqlite: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A copy of the old file is beside it, as private as before, and works with the old program;
    the log reports the upgrade once."""
    fill(sqlite)
    (tmp_path / "loop.db").chmod(0o600)
    before, history = rows_of(sqlite), with_another(tmp_path)
    monkeypatch.setattr(revisions, "OURS", history)
    assert plan_upgrade(sqlite, requested=False) == Upgrade(OURS.head, "later", True)
    with caplog.at_level(logging.WARNING, "closedloop"):
        check_later(sqlite, before)
        prepare_tables(sqlite)
    copy = tmp_path / "loop.db.before-later"
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1
    assert messages[0].endswith(f"from revision {OURS.head} to later; the file as it was: {copy}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in sorted(tmp_path.glob("loop.db.*"))] == [
        "loop.db.before-later",
        "loop.db.lock",
    ]
    monkeypatch.undo()
    kept = open_engine(f"sqlite:///{copy}")
    assert rows_of(kept) == before
    assert [entry.key for entry in Journal(kept).history("shop")] == ["a", "b"]


def test_a_server_is_upgraded_on_request_only(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL first use names both revisions and the command; then the same stores work."""
    engine = open_engine(postgres_url)
    fill(engine)
    before, history = rows_of(engine), with_another(tmp_path)
    monkeypatch.setattr(revisions, "OURS", history)
    journal, records = Journal(engine), Records(engine)
    for use in (
        lambda: journal.history("shop"),
        records.probe,
        lambda: plan_upgrade(engine, requested=False),
    ):
        with pytest.raises(
            StoreError,
            match=rf"wanted the tables of revision later, got revision {OURS.head}: "
            "run: closedloop upgrade",
        ):
            use()
    assert plan_upgrade(engine) == Upgrade(OURS.head, "later", True)
    assert rows_of(engine) == before
    assert upgrade_tables(engine) == Upgrade(OURS.head, "later", True)
    assert upgrade_tables(engine) == Upgrade("later", "later", False)
    journal.history("shop")
    records.probe()
    check_later(engine, before)


def test_an_unstamped_database_gets_all_revisions(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database from before the revisions goes to the newest at once; a server on request only."""
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
    """kill -9 in the middle of a revision leaves the database unchanged, and the next upgrade
    succeeds."""
    fill(engine)
    before, half = rows_of(engine), with_another(tmp_path, HALF)
    url = engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", UPGRADER, url, str(half.folder), *half.names],
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
    """A statement that fails, or rows that refer to missing rows, undo the whole upgrade, and no
    copy is left behind."""
    fill(engine)
    before = rows_of(engine)
    with pytest.raises(StoreError, match="nothing was changed"):
        upgrade_tables(engine, with_another(tmp_path, f'{NOTE}    op.execute("{fault}")\n'))
    assert rows_of(engine) == before
    assert found_in(engine) == Found(OURS.head, stamped=True)
    assert list(tmp_path.glob("*.before-*")) == []
    # References are enforced again.
    with engine.begin() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.execute(text("DELETE FROM decisions"))


def test_without_room_for_the_copy_nothing_is_upgraded(sqlite: Engine, tmp_path: Path) -> None:
    """When the copy cannot be written, the database stays as it is and the error says so."""
    fill(sqlite)
    before = rows_of(sqlite)
    (tmp_path / "loop.db.before-later.part").mkdir()
    with pytest.raises(
        StoreError,
        match=r"loop\.db\.before-later\.part: wanted a copy of the database before it is upgraded",
    ):
        prepare_tables(sqlite, with_another(tmp_path))
    assert rows_of(sqlite) == before
