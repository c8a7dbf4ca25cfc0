"""Days of records and an archive for them, for the tests of archives.

A module that uses the fixtures imports them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from closedloop.records import answer_pages, reading
from closedloop.records.archive.folder import Archive
from closedloop.records.labels import Label
from closedloop.records.store import Records
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered
from tests.unit.records.test_reading_exactly import DAY

NEXT = DAY + timedelta(days=1)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "archive"))


@pytest.fixture
def records(engine: Engine, archive: Archive) -> Records:
    return Records(engine, now=lambda: NOON, archive=archive)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The periods that are read from the database."""
    periods: list[tuple[Any, Any]] = []
    read = answer_pages.read_pages

    def note(connection: Any, use_case: str, since: Any, until: Any, **how: Any) -> Any:
        periods.append((since, until))
        return read(connection, use_case, since, until, **how)

    monkeypatch.setattr(reading, "read_pages", note)
    return periods


def find_file(tmp_path: Path, day: datetime = DAY) -> Path:
    return tmp_path / "archive" / "use_case=shop" / f"day={day:%Y-%m-%d}" / "answers.parquet"


def fill_days(records: Records, days: int = 5, first: datetime = DAY - timedelta(days=4)) -> None:
    """Requests around the midnights of these days, some rows of them labelled."""
    for number in range(days):
        start = first + timedelta(days=number)
        records.append(
            [
                answered(f"{number}-first", key=f"c{number}", at=start, spend=float(number)),
                answered(f"{number}-late", at=start + timedelta(hours=23, minutes=59)),
            ]
        )
    records.label_many([Label("True", id=f"{number}-first-000000") for number in range(0, days, 2)])
