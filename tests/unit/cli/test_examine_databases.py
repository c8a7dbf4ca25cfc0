"""The doctor on the files under the home: which are whole, and what is lost without another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from closedloop.cli.examine.databases import describe_databases
from closedloop.errors import ClosedLoopError, StoreError
from closedloop.settings import Settings

FILES = {
    "closedloop.db": "decisions and records",
    "mlflow.db": "versions",
    "prefect/prefect.db": "history of runs",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with three databases of some pages each."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE rows (content TEXT)")
            connection.execute("INSERT INTO rows VALUES (?)", ("x" * 40_000,))
    return Settings(home=tmp_path)


def test_whole_files_are_counted(settings: Settings, tmp_path: Path) -> None:
    """What is there is whole; an empty home is as well as a full one, and so is a server's."""
    assert describe_databases(settings) == "closedloop.db, mlflow.db, prefect.db: whole; 0 API keys"
    assert describe_databases(Settings(home=tmp_path / "new")) == "none yet: whole; 0 API keys"
    away = settings.model_copy(
        update={"database_url": "postgresql://host/loop", "mlflow_url": "http://mlflow:5000"}
    )
    assert describe_databases(away) == "prefect.db: whole; 0 API keys"


@pytest.mark.parametrize("damage", [b"junk of no kind" * 999, None], ids=["junk", "cut off"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(settings: Settings, name: str, damage: bytes | None) -> None:
    """With what is lost when it is moved away."""
    path = settings.home_folder / name
    path.write_bytes(damage or path.read_bytes()[:9000])
    with pytest.raises(StoreError, match=f"{name}: .*move it away: .* without the {FILES[name]}"):
        describe_databases(settings)


def test_a_damaged_file_of_keys_is_named(settings: Settings) -> None:
    """It is no database, and as much in the way of a service."""
    settings.keys_file.write_text("{", encoding="utf-8")
    with pytest.raises(ClosedLoopError, match="a file of API keys"):
        describe_databases(settings)
