"""An empty database on SQLite and on a real PostgreSQL.

A module that uses it imports the fixtures of tests/postgres.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from closedloop.storage.engine import open_engine


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        f"sqlite:///{tmp_path / 'loop.db'}"
        if request.param == "sqlite"
        else str(request.getfixturevalue("postgres_url"))
    )


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()
