"""A candidate in the shadow of the API: its answers are recorded and never given, and whatever it
does, /predict answers as if it was not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from api.predict.predictor import Predictor
from api.shadow import ShadowedPredictor
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import ModelError, StoreError
from closedloop.records.shadow import RecordedRequest, ShadowRecords
from closedloop.records.tables import ANSWERS, SHADOWS
from closedloop.shadow.live import LiveShadow
from closedloop.shadow.process import Answered, AnsweringProcess
from tests.api.conftest import GOOD_ROW, Service
from tests.waiting import until


@dataclass
class Candidate:
    """A candidate that does what a test wants; it is asked in no process of its own."""

    fault: Exception | None = None
    hold: Event | None = None
    asked: list[RecordedRequest] = field(default_factory=list)
    began: Event = field(default_factory=Event)
    opened: int = 0
    closed: int = 0

    def load(self) -> None:
        self.opened += 1

    def ask(self, request: RecordedRequest) -> Answered:
        self.asked.append(request)
        self.began.set()
        if self.hold is not None:
            self.hold.wait(60)
        if self.fault is not None:
            raise self.fault
        half = json.dumps([0.5] * request.rows)
        return Answered(f'{{"False":{half},"True":{half}}}'.encode(), "", 0.001, 100.0)

    def close(self) -> None:
        self.closed += 1
        if self.hold is not None:
            self.hold.set()


@dataclass
class Shadowed:
    """A service with version 1 in production and a shadow whose turns a test takes."""

    service: Service
    shadow: LiveShadow
    waiting: list[int | None]

    def answers(self) -> list[Any]:
        with self.service.engine.begin() as connection:
            return list(connection.execute(select(SHADOWS)))


@pytest.fixture
def make_shadowed(make_service: Callable[..., Service]) -> Callable[..., Shadowed]:
    def make(candidate: Any, **limits: Any) -> Shadowed:
        waiting: list[int | None] = [2]
        written: list[ShadowRecords] = []
        opened = candidate if callable(candidate) else lambda version: candidate
        shadow = LiveShadow(
            "shop", lambda: waiting[0], opened, lambda answers: written[0].write(answers), **limits
        )
        service = make_service(shadow=shadow)
        written.append(ShadowRecords(service.engine))
        service.promote(1)
        return Shadowed(service, shadow, waiting)

    return make


def test_its_answers_are_recorded_and_never_given(
    make_shadowed: Callable[..., Shadowed],
    bundle_folder: Path,
    bundles: dict[int, LoadedVersion],
) -> None:
    """Version 1 answers clients, alone and whatever protocol they speak; version 2 answers the same
    rows in a process of its own, as it would in production."""
    made = make_shadowed(lambda version: AnsweringProcess(bundle_folder / "2", polite=True))
    made.shadow.take_turn(0.0)
    assert made.shadow.version == 2
    rows = [{**GOOD_ROW, "visits": visits} for visits in (1, 2, 3)] + [{**GOOD_ROW, "plan": None}]
    given = made.service.predict(*rows)
    many = made.service.predict(*([GOOD_ROW] * 40))
    made.shadow.take_turn(10.0)
    made.shadow.close()
    assert {given["version"], many["version"]} == {1}
    with made.service.engine.begin() as connection:
        recorded = {row.request: row for row in connection.execute(select(ANSWERS))}
    assert {row.version for row in recorded.values()} == {1}
    shadows = made.answers()
    assert {row.request for row in shadows} == set(recorded)
    assert {(row.version, row.use_case, row.error) for row in shadows} == {(2, "shop", None)}
    first = next(row for row in shadows if recorded[row.request].rows == 4)
    said = json.loads(first.probabilities)
    theirs = np.array([said["False"], said["True"]]).T
    ours = [list(row["probabilities"].values()) for row in given["predictions"]]
    assert np.abs(theirs - ours).max() > 1e-4
    made.service.promote(2)
    promoted = made.service.predict(*rows)
    again = [list(row["probabilities"].values()) for row in promoted["predictions"]]
    np.testing.assert_allclose(theirs, again, rtol=0, atol=1e-9)


def test_too_much_is_dropped_and_counted(make_shadowed: Callable[..., Shadowed]) -> None:
    """While five rows wait, no more are taken; every client is answered, and the rows that nobody
    asked the candidate are in /metrics."""
    candidate = Candidate()
    made = make_shadowed(candidate, max_waiting_rows=5)
    made.service.predict()
    assert made.service.metric("closedloop_shadow_dropped_rows_total") == 0, "nobody waits yet"
    made.shadow.take_turn(0.0)
    for _ in range(4):
        made.service.predict(GOOD_ROW, GOOD_ROW)
    assert made.service.metric("closedloop_shadow_dropped_rows_total") == 4
    made.shadow.take_turn(0.1)
    assert sum(request.rows for request in candidate.asked) == 4
    made.service.predict(*[GOOD_ROW] * 5)
    made.shadow.take_turn(0.2)
    made.shadow.take_turn(5.0)
    assert made.service.metric("closedloop_shadow_rows_total") == 9
    assert made.service.metric("closedloop_shadow_version") == 2
    assert len(made.answers()) == 3


def test_a_turn_asks_few_requests(make_shadowed: Callable[..., Shadowed]) -> None:
    """So that the thread takes little of Python's lock from those who answer."""
    candidate = Candidate()
    made = make_shadowed(candidate)
    made.shadow.take_turn(0.0)
    for _ in range(25):
        made.service.predict()
    made.shadow.take_turn(0.1)
    assert len(candidate.asked) == 10


def test_one_that_fails_is_recorded_as_such_and_tried_again_later(
    make_shadowed: Callable[..., Shadowed],
) -> None:
    """A process that ends takes nothing with it: its request is recorded with the reason, it is
    started again after 5 seconds, then after 10, and what comes in between is not for it."""
    fault = ModelError(where="bundle 2", wanted="an answer", got="SIGSEGV", then="train again")
    candidate = Candidate(fault=fault)
    made = make_shadowed(candidate)
    made.shadow.take_turn(0.0)
    assert made.service.predict()["version"] == 1
    made.shadow.take_turn(1.0)
    assert (made.shadow.version, candidate.closed) == (None, 1)
    assert made.service.predict()["version"] == 1
    made.shadow.take_turn(5.9)
    assert (candidate.opened, made.shadow.version) == (1, None)
    made.shadow.take_turn(6.0)
    assert (candidate.opened, made.shadow.version) == (2, 2)
    made.service.predict()
    made.shadow.take_turn(7.0)
    made.shadow.take_turn(16.9)
    assert candidate.opened == 2
    candidate.fault = None
    made.shadow.take_turn(17.0)
    made.service.predict()
    made.shadow.take_turn(18.0)
    made.shadow.take_turn(20.0)
    errors = sorted(str(row.error) for row in made.answers())
    assert errors == ["None", "SIGSEGV", "SIGSEGV"]
    assert made.service.metric("closedloop_shadow_failures_total") == 2


def test_one_that_hangs_holds_up_nobody(make_shadowed: Callable[..., Shadowed]) -> None:
    """While the thread waits for it, clients are answered, what is too much is dropped, and the
    service ends."""
    candidate = Candidate(hold=Event())
    made = make_shadowed(candidate, max_waiting_rows=3)
    with _running(made.shadow):
        until(lambda: made.shadow.version == 2, "the candidate")
        made.service.predict()
        assert candidate.began.wait(30)
        for _ in range(10):
            assert made.service.predict()["version"] == 1
        assert made.service.metric("closedloop_shadow_dropped_rows_total") == 7
    assert candidate.closed == 1


def test_what_cannot_be_written_is_lost_and_counted(
    make_shadowed: Callable[..., Shadowed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that refuse a shadow's answers refuse none of production's."""
    made = make_shadowed(Candidate())
    away = StoreError(where="records", wanted="a database", got="none", then="wait")

    def refuse(_records: ShadowRecords, _answers: Any) -> None:
        raise away

    monkeypatch.setattr(ShadowRecords, "write", refuse)
    made.shadow.take_turn(0.0)
    assert made.service.predict()["version"] == 1
    made.shadow.take_turn(2.0)
    assert made.service.metric("closedloop_shadow_failures_total") == 1
    assert made.answers() == []


def test_another_candidate_takes_its_place(make_shadowed: Callable[..., Shadowed]) -> None:
    """Within seconds of a decision; what still waited is asked of nobody."""
    opened: list[int] = []

    def open_version(version: int) -> Candidate:
        opened.append(version)
        return Candidate()

    made = make_shadowed(open_version)
    made.shadow.take_turn(0.0)
    made.service.predict()
    made.waiting[0] = None
    made.shadow.take_turn(5.0)
    assert (made.shadow.version, made.service.metric("closedloop_shadow_version")) == (None, 0)
    assert made.service.metric("closedloop_shadow_dropped_rows_total") == 1
    made.waiting[0] = 3
    made.shadow.take_turn(10.0)
    assert (opened, made.shadow.version) == ([2, 3], 3)


def test_its_answers_go_with_their_requests(make_shadowed: Callable[..., Shadowed]) -> None:
    """Records that are pruned take the answers of the shadow with them."""
    made = make_shadowed(Candidate())
    made.shadow.take_turn(0.0)
    made.service.predict()
    made.shadow.take_turn(1.0)
    made.service.clock.pass_seconds(3600)
    made.service.predict()
    made.shadow.take_turn(3.0)
    assert len(made.answers()) == 2
    made.service.records.delete_before("shop", made.service.clock.moment)
    assert len(made.answers()) == 1


def test_without_a_shadow_nothing_is_done_for_one(service: Service) -> None:
    """The service answers with `Predictor` itself, and has no metric of shadows."""
    assert service.metric("closedloop_shadow_rows_total") is None
    assert "record" in vars(ShadowedPredictor)
    names = {type(found).__name__ for found in _find_predictors(service)}
    assert names == {Predictor.__name__}


def _find_predictors(service: Service) -> Iterator[Predictor]:
    for route in service.app.router.routes:
        found = getattr(getattr(route, "endpoint", None), "_predictor", None)
        if isinstance(found, Predictor):
            yield found


@contextmanager
def _running(shadow: LiveShadow) -> Iterator[None]:
    shadow.start()
    try:
        yield
    finally:
        shadow.close(timeout_seconds=0.2)
