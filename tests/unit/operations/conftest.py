"""A database to copy from, and one on SQLite and on a real PostgreSQL to copy to.

A module that uses them imports the fixtures of tests/postgres.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from closedloop.storage.engine import open_engine


@pytest.fixture
def source(tmp_path: Path) -> Engine:
    return open_engine(f"sqlite:///{tmp_path / 'here.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(
        f"sqlite:///{tmp_path / 'there.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    yield engine
    engine.dispose()
