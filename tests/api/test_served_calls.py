"""What the service notes of each version for the watch after a promotion: calls that failed too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from api.metrics.calls_noted import ServedNotes
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import StoreError
from closedloop.records.call_counts import ServedMinute

pytestmark = pytest.mark.slow

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
BATCH = {"dataframe_records": [ROW, ROW]}


class Failing:
    """A scorer that passes its self-test and fails on everything after it."""

    def __init__(self, version: LoadedVersion) -> None:
        self._scorer, self.broken = version.scorer, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def probabilities(self, *rows: Any) -> Any:
        if self.broken:
            raise ArithmeticError("no answer")
        return self._scorer.probabilities(*rows)


def test_calls_of_each_version_are_written_when_the_service_ends(
    make_service: Callable[..., Service],
) -> None:
    """Answered calls of two versions, whatever the protocol, and failed ones of the second: all are
    in the database after the end, each with its version."""
    service = make_service(note_served=lambda minutes: service.records.add_served("shop", minutes))
    failing = Failing(service.versions.bundles[2])
    service.versions.bundles[2] = replace(service.versions.bundles[2], scorer=failing)
    service.promote(1)
    with service.client as client:
        assert client.post("/predict", json=ROW).status_code == 200
        assert client.post("/invocations", json=BATCH).status_code == 200
        service.promote(2)
        assert client.post("/predict", json=ROW).status_code == 200
        failing.broken = True
        assert client.post("/predict", json=ROW).status_code == 503
        assert client.post("/invocations", json=BATCH).status_code == 503
        assert client.post("/predict", json={"nonsense": 1}).status_code == 422
    first, second = (service.records.read_served("shop", version) for version in (1, 2))
    assert (first.calls, first.failed) == (2, 0)
    assert (second.calls, second.failed) == (3, 2)
    assert first.median_ms is not None
    assert first.median_ms > 0


def test_while_the_database_is_away_the_counts_wait() -> None:
    """A minute that cannot be written is written with the next, and nobody hears of it twice."""
    written: list[ServedMinute] = []
    clock, away = [60_000.0], True

    def note(minutes: Sequence[ServedMinute]) -> None:
        if away:
            raise StoreError(where="records", wanted="a database", got="none", then="wait")
        written.extend(minutes)

    notes = ServedNotes(note, now=lambda: clock[0])
    notes.counts.count(7, clock[0], 0.001, failed=False)
    assert not notes.due
    clock[0] += 61
    assert notes.due
    notes.write()
    assert written == []
    assert not notes.due
    notes.counts.count(7, clock[0], 0.001, failed=True)
    away = False
    clock[0] += 61
    notes.write()
    assert [(found.calls, found.failed) for found in written] == [(1, 0), (1, 1)]
