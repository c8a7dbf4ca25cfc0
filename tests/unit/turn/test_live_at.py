"""What was live when: every moment has one answer, from the decisions in the journal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import RegistryError, UseCaseError
from closedloop.records.labels import UnknownPrediction
from closedloop.records.store import Records
from closedloop.storage.details import PromotionDetails, TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.storage.rows import Origin
from closedloop.turn.live_at import LiveAt, live_at, read_moment
from closedloop.turn.live_questions import LiveQuestions
from closedloop.turn.serving_note import note_serving
from tests.unit.records.conftest import answered

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KINDS = {Action.ROLLBACK: Kind.ROLLBACK, Action.ACCEPT: Kind.ACCEPTANCE}


@dataclass
class Past:
    """A journal that is written at any minute after noon."""

    folder: Path
    now: datetime = NOON
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.engine = open_engine(f"sqlite:///{self.folder / 'loop.db'}")
        self.journal = Journal(self.engine, now=lambda: self.now)

    def decide(
        self, action: Action, version: int | None, minute: float, origin: Origin = Origin.LOOP
    ) -> Entry:
        self.now = after(minute)
        decision = Decision(
            KINDS.get(action, Kind.PROMOTION), action, "w7", (request_check("it"),), version
        )
        details = PromotionDetails() if decision.kind is Kind.PROMOTION else TurnDetails()
        key = f"{action}/{version}/{minute}"
        return self.journal.write(key, "shop", decision, details=details, origin=origin)

    def move(
        self,
        action: Action,
        version: int | None,
        minute: float,
        origin: Origin = Origin.LOOP,
        took: float = 0.0,
    ) -> Entry:
        entry = self.decide(action, version, minute, origin)
        self.now = after(minute + took)
        self.journal.carried_out(entry)
        return entry

    def serve(self, version: int, minute: float) -> None:
        self.now = after(minute)
        note_serving(self.journal, "shop", version, window="w7", where="a:80/1", started="now")

    def at(self, minute: float) -> LiveAt:
        return live_at(self.journal, "shop", after(minute))


def after(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def test_each_moment_belongs_to_the_newest_move_that_was_carried_out(past: Past) -> None:
    """Nothing before the first; then from the moment of a move up to, and without, that of the
    next one, whoever decided and whatever the move was. What was rejected or overtaken is none."""
    first = past.move(Action.PROMOTE, 1, 10)
    past.move(Action.REJECT, 2, 15)
    second = past.move(Action.PROMOTE, 3, 20, Origin.PERSON)
    lost = past.decide(Action.PROMOTE, 4, 25)
    back = past.move(Action.ROLLBACK, 1, 30)
    past.journal.supersede(lost, by=back)
    accepted = past.move(Action.ACCEPT, None, 40, Origin.PERSON)
    told = {minute: past.at(minute) for minute in (0, 10, 19.99, 20, 29.99, 30, 39, 40, 99)}
    assert [found.version for found in told.values()] == [None, 1, 1, 3, 3, 1, 1, None, None]
    assert [found.began and found.began.id for found in told.values()] == [
        *(None, first.id, first.id, second.id, second.id),
        *(back.id, back.id, accepted.id, accepted.id),
    ]
    assert (told[0].since, told[0].until) == (None, after(10))
    assert (told[19.99].since, told[19.99].until) == (after(10), after(20))
    assert told[30].ended is not None
    assert told[30].ended.id == accepted.id
    assert (told[99].since, told[99].until, told[99].ended) == (after(40), None, None)
    shown = told[20].as_json()
    assert shown["decision"]["by"] == "a person"
    assert (shown["since"], shown["until"]) == (
        "2026-11-20T12:20:00.000000+00:00",
        "2026-11-20T12:30:00.000000+00:00",
    )
    assert told[10].as_json()["decision"]["by"] == "the loop"


def test_two_moves_at_the_same_moment_leave_the_second(past: Past) -> None:
    """Also when the clock was set back between them: the order is that of the decisions."""
    past.move(Action.PROMOTE, 1, 10)
    past.move(Action.PROMOTE, 2, 10)
    past.move(Action.PROMOTE, 3, 8)
    assert (past.at(9).version, past.at(10).version) == (None, 3)
    assert past.at(10).since == after(10)


def test_a_move_that_is_half_carried_out_is_told_beside_what_was_live(past: Past) -> None:
    """Between its decision and its outcome, and for ever if it was cut off."""
    past.move(Action.PROMOTE, 1, 10)
    second = past.move(Action.PROMOTE, 2, 20, took=5)
    cut_off = past.decide(Action.ROLLBACK, 1, 30)
    between = past.at(22)
    assert (between.version, between.begun and between.begun.id) == (1, second.id)
    assert (past.at(25).version, past.at(25).begun) == (2, None)
    later = past.at(500)
    assert (later.version, later.begun and later.begun.id) == (2, cut_off.id)
    assert past.at(500).as_json()["moving"]["carried_out"] is None


def test_it_is_told_when_a_service_really_answered(past: Past) -> None:
    """By its notes, up to the moment that is asked about; going back to a version is noted again,
    by the same process too."""
    past.move(Action.PROMOTE, 1, 10)
    assert past.at(12).answered_since is None
    past.serve(1, 13)
    past.move(Action.PROMOTE, 2, 20)
    past.serve(2, 21)
    past.serve(2, 22)  # another worker of the same service
    past.move(Action.ROLLBACK, 1, 30)
    past.serve(1, 33)
    assert [past.at(minute).answered_since for minute in (13, 20, 25, 31, 33)] == [
        *(after(13), None, after(21), None, after(33))
    ]
    assert [note.version for note in past.at(25).answered] == [2]


WRITTEN = [
    ("2026-11-20", NOON.replace(hour=0)),
    ("2026-11-20T12:00", NOON),
    (" 2026-11-20 12:00:00.5 ", NOON + timedelta(seconds=0.5)),
    ("2026-11-20T12:00Z", NOON),
    ("2026-11-20T14:00+02:00", NOON),
    ("2026-11-20T14:00 02:00", NOON),  # the + of a query string
    ("2026-11-20T13:00:00 0100", NOON),
]


@pytest.mark.parametrize(("text", "moment"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_a_time_is_read_in_utc_unless_it_has_a_zone(text: str, moment: datetime) -> None:
    """A date is its first moment."""
    assert read_moment(text, NOON + timedelta(days=1)) == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20/11/2026", "0001-01-01T00:00+14:00", "2026-11-20T25:00", "\x1b\0"]
)
def test_another_text_is_refused_with_what_is_wanted(text: str) -> None:
    """Also a time that no clock has."""
    with pytest.raises(UseCaseError, match="a date or a time such as 2026-11-20"):
        read_moment(text, NOON)


def test_a_moment_to_come_is_refused(past: Past) -> None:
    """Nobody knows it; a clock that is seconds ahead is no reason."""
    assert read_moment("2026-11-20T12:00:30", NOON) > NOON
    with pytest.raises(UseCaseError, match="a moment up to now"):
        read_moment("2026-11-21", NOON)


def test_a_prediction_is_followed_back_to_decision_data_and_code(past: Past) -> None:
    """Its version is that on record. When the journal had another one live, because the service was
    late, both are told; what the registry does not say is unknown."""
    records = Records(past.engine, now=lambda: past.now)
    first = past.move(Action.PROMOTE, 3, 10)
    past.move(Action.PROMOTE, 4, 20)
    past.now = after(21)
    records.append([answered("a")])
    tags = {
        "data": json.dumps({"w6": "abc", "w7": "def"}),
        "revision": "c0ffee",
        "closedloop": "0.2.0",
        "sha256": "f" * 64,
        "recipe": "logistic/all",
    }

    def read_tags(version: int) -> tuple[dict[str, str], str]:
        if past.now > after(60):
            raise RegistryError(where="MLflow", wanted="an answer", got="none", then="wait")
        return tags, f"run of {version}"

    questions = LiveQuestions(past.journal, records, "shop", read_tags, now=lambda: past.now)
    found = questions.prediction("a-000000")
    assert (found["version"], found["live_then"], found["decision"]["id"]) == (3, 4, first.id)
    training = found["training"]
    assert training["windows"] == {"w6": "abc", "w7": "def"}
    assert (training["revision"], training["closedloop"]) == ("c0ffee", "0.2.0")
    assert (training["run"], training["own_code"]) == ("run of 3", None)
    past.now = after(61)
    away = questions.prediction("a-000000")
    assert (away["version"], away["training"]) == (3, None)
    assert "wanted an answer" in away["unknown"]
    for unknown in ("a-000001", "a", "b-000000", "\x1b[31m", "a-0"):
        with pytest.raises(UnknownPrediction, match="the id of a prediction of shop"):
            questions.prediction(unknown)
    records.close()
