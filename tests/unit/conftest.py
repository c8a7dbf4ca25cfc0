"""Records on SQLite and on a real PostgreSQL, at a fixed time.

A module that uses them imports the fixtures of tests/postgres.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from closedloop.records.store import Records
from closedloop.storage.engine import open_engine

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "sqlite":
        return open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    return open_engine(request.getfixturevalue("postgres_url"))


@pytest.fixture
def records(engine: Engine) -> Records:
    return Records(engine, now=lambda: NOON)
