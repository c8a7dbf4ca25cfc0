"""What cannot be done from records that lack a column on purpose is said, and so is a service that
still records it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from closedloop.cli.examine.recorded import describe_recorded
from closedloop.errors import StoreError, UseCaseError
from closedloop.records.as_windows import RecordsSource
from closedloop.records.store import Records
from closedloop.settings import Settings
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON


def keep_out(use_case: UseCase, *names: str) -> UseCase:
    """The use case as its loop.toml with record = false of these columns."""
    columns = {
        name: replace(column, record=name not in names) for name, column in use_case.columns.items()
    }
    return replace(use_case, columns=MappingProxyType(columns))


def test_records_without_a_column_are_no_windows(records: Records, use_case: UseCase) -> None:
    """Neither drift nor a model's scores could be measured on them: said before anything is read,
    with the column and both ways out."""
    assert keep_out(use_case).unrecorded == ()
    RecordsSource(records, keep_out(use_case))
    with pytest.raises(
        UseCaseError,
        match="records as windows: wanted every column that a model needs, got none of plan: "
        "record = false keeps it out of the records: look at your own windows, or remove",
    ):
        RecordsSource(records, keep_out(use_case, "plan"))


def test_the_doctor_finds_a_service_that_does_not_know(
    records: Records, use_case: UseCase, tmp_path: Path
) -> None:
    """While the newest answer has the column, it fails and says to start the API again; with an
    answer without it, it says what records cannot do. Without such a column there is nothing to
    say."""
    nothing: Any = None

    def look(*names: str) -> str:
        loop = Loop(
            keep_out(use_case, *names),
            Settings(home=tmp_path),
            *(nothing, records, nothing, nothing, nothing),
        )
        return describe_recorded(loop)

    classes = {"False": [0.2], "True": [0.8]}
    assert look() == "every column that the API is asked with"
    assert look("plan").startswith("without plan (record = false)")
    whole = describe_answers("shop", 3, {"spend": [1.5], "plan": ["gold"]}, classes, at=NOON)
    records.append([whole])
    with pytest.raises(StoreError, match="got the newest answer, of 2026-11-20 12:00 UTC, has"):
        look("plan")
    records.now = lambda: NOON.replace(hour=13)
    records.append([describe_answers("shop", 3, {"spend": [1.5]}, classes)])
    assert look("plan").startswith("without plan (record = false)")
