"""The alias is looked up when its file has changed, and only then."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from closedloop.registry.live_sql import RegistryTables


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_registry_that_stays_is_not_opened_again(tmp_path: Path, journal: str) -> None:
    """An alias is found anew after each commit, in both ways that SQLite keeps a file, and after
    the file was replaced; a file that was not touched for a while is only looked at."""
    path, opened = tmp_path / "mlflow.db", []
    tables = RegistryTables(f"sqlite:///{path}")
    assert tables.aliased("shop", "production") is None

    def age() -> None:
        for path in tmp_path.glob("mlflow.db*"):
            os.utime(path, (1_700_000_000, 1_700_000_000))

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode={journal}")
        other.execute(
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)"
        )
        other.execute("INSERT INTO registered_model_aliases VALUES ('shop', 'production', 1)")
        assert [tables.aliased("shop", "production") for _ in range(2)] == [1, 1]
        event.listen(tables._engine, "connect", lambda *_: opened.append(1))
        age()
        assert [tables.aliased("shop", "production") for _ in range(5)] == [1] * 5
        assert len(opened) == 1
        assert tables.aliased("shop", "previous") is None
        assert tables.aliased("shop", "production") == 1
        age()
        other.execute("UPDATE registered_model_aliases SET version = 2")
        assert tables.aliased("shop", "production") == 2
    path.rename(tmp_path / "away.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)"
        )
        other.execute("INSERT INTO registered_model_aliases VALUES ('shop', 'production', 7)")
    assert tables.aliased("shop", "production") == 7
