"""`GET /api/live` answers what was live when, from the journal that the service only reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import answers
from api.app import create_app
from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import StoreError
from closedloop.storage.journal import Journal
from closedloop.turn.live_questions import LiveQuestions


@pytest.fixture
def client(empty_service: Any) -> TestClient:
    """A service whose version 1 was promoted an hour ago by the journal."""
    service, now = empty_service, empty_service.clock
    journal = Journal(service.engine, now=now)
    decision = Decision(Kind.PROMOTION, Action.PROMOTE, "w2", (request_check("it"),), 1)
    journal.carried_out(journal.write("a key", "shop", decision))
    now.pass_seconds(3600)

    def read_tags(version: int) -> tuple[dict[str, str], str]:
        return {"recipe": "logistic/all", "data": '{"w1": "abc"}'}, "a run"

    questions = LiveQuestions(journal, service.records, "shop", read_tags, now=now)
    app = create_app(service.follower, service.records, live=questions)
    service.promote(1)
    return TestClient(app)


def test_it_tells_what_was_live(client: TestClient, empty_service: Any) -> None:
    """Now, at a time, before anything was; in the documented form."""
    now = client.get("/api/live").json()
    answers.LiveAnswer.model_validate(now)
    assert (now["version"], now["until"], now["decision"]["by"]) == (1, None, "the loop")
    noon = empty_service.clock() - timedelta(hours=1)
    # requests writes the + of the zone as %2B; people write it as it is.
    for at in (noon.isoformat(), "2026-11-20T13:00:00+01:00", "2026-11-20T13:00:00%2B01:00"):
        assert client.get(f"/api/live?at={at}").json()["since"] == now["since"]
    before = client.get("/api/live?at=2026-11-20").json()
    assert (before["version"], before["decision"], before["until"]) == (None, None, now["since"])


def test_it_tells_where_a_prediction_came_from(client: TestClient, good_row: Any) -> None:
    """By the id that /predict gave it."""
    answered = client.post("/predict", json={"rows": [good_row]}).json()
    found = client.get("/api/live", params={"prediction": answered["predictions"][0]["id"]}).json()
    answers.PredictionLiveAnswer.model_validate(found)
    assert (found["version"], found["decision"]["version"], found["live_then"]) == (1, 1, 1)
    assert (found["training"]["windows"], found["training"]["run"]) == ({"w1": "abc"}, "a run")


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("at=soon", 422, "a date or a time such as"),
        ("at=2026-12-24", 422, "a moment up to now"),
        ("at=", 422, "a date or a time such as"),
        ("at=2026-11-20&prediction=a-000000", 422, "ask for one of them"),
        ("prediction=a-000000", 404, "the id of a prediction of shop"),
        ("prediction=%1b%5b31m%00", 404, "the id of a prediction of shop"),
    ],
)
def test_another_question_is_refused(
    client: TestClient, query: str, status: int, told: str
) -> None:
    """With what is wanted; nothing of it fails inside."""
    answer = client.get(f"/api/live?{query}")
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True)


def test_a_journal_that_is_away_is_told(make_service: Callable[..., Any]) -> None:
    """503, as for a service that has none."""

    class Away:
        def at(self, text: str | None) -> dict[str, Any]:
            raise StoreError(where="journal", wanted="an answer", got="none", then="wait")

        def prediction(self, id: str) -> dict[str, Any]:
            raise AssertionError

    for questions in (Away(), None):
        service = make_service(live=questions)
        assert service.client.get("/api/live").status_code == 503
