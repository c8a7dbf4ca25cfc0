"""The service follows `production`: swaps whole, refuses what is broken, survives a registry that
is away."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.model.answer import LoadedModel
from api.model.follower import Follower
from api.model.live import Production
from closedloop.errors import ModelError, RegistryError

Service = Any  # tests/api/conftest.py


def test_a_promotion_changes_the_version_that_answers(service: Service) -> None:
    """After production moved, the next answers are those of the new version, without a restart, and
    it was noted."""
    before = service.predict()
    service.promote(2)
    after = service.predict()
    assert (before["version"], after["version"]) == (1, 2)
    assert before["predictions"][0]["probabilities"] != after["predictions"][0]["probabilities"]
    assert service.versions.noted == [1, 2]


def test_a_rollback_is_followed_like_a_promotion(service: Service) -> None:
    """Moving production back brings the older version back."""
    service.promote(2)
    service.promote(1)
    assert service.predict()["version"] == 1


def test_nothing_is_loaded_while_production_stays(service: Service) -> None:
    """Following costs one question, not one download, a turn."""
    for _ in range(5):
        service.follow()
    assert service.versions.loads == [1]


@pytest.mark.parametrize(
    "fault",
    [
        ModelError(where="bundle 2", wanted="a complete bundle", got="half of it", then="train"),
        MemoryError(),
        KeyError("x"),
    ],
)
def test_a_version_that_fails_to_load_never_replaces_one_that_works(
    service: Service, fault: Exception
) -> None:
    """The working version answers on; /ready, /model and /metrics say which version was refused and
    why."""
    service.versions.load_faults[2] = fault
    service.promote(2)
    assert service.predict()["version"] == 1
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    assert (ready.json()["version"], ready.json()["wanted"]) == (1, 2)
    assert "version 2 was refused" in ready.json()["reason"]
    assert list(ready.json()["refused"]) == ["2"]
    assert service.client.get("/model").json()["refused"] == ready.json()["refused"]
    assert service.metric("closedloop_versions_refused") == 1
    assert (
        service.metric("closedloop_model_version"),
        service.metric("closedloop_model_wanted_version"),
    ) == (1, 2)
    assert service.versions.noted == [1]


def test_who_starts_while_a_broken_version_is_in_production_answers_with_the_last_good_one(
    service: Service,
) -> None:
    """A worker that is replaced then has nothing loaded: it takes the version that was last in
    service, and names the other."""
    service.versions.load_faults[2] = ModelError(
        where="bundle 2", wanted="a complete bundle", got="half of it", then="train"
    )
    service.versions.production = 2
    started = Follower(
        Production(),
        service.versions.find_production,
        service.versions.load,
        lambda _version: None,
        find_last_good=lambda: 1,
    )
    started.follow_once()
    assert started.production.current is not None
    assert started.production.current.version == 1
    assert "version 2 was refused" in (started.production.reason or "")
    loads = len(service.versions.loads)
    started.follow_once()
    assert len(service.versions.loads) == loads


def test_a_version_that_does_not_repeat_its_self_test_is_refused(
    service: Service, spoiled: Any
) -> None:
    """A model that loads but answers differently from the fitted one never answers a request."""
    service.versions.bundles[2] = spoiled
    service.promote(2)
    assert service.predict()["version"] == 1
    assert (
        "its self-test repeated within 1e-09, got a difference of 0.001"
        in service.client.get("/ready").json()["refused"]["2"]
    )


def test_a_refused_first_version_leaves_the_service_not_ready(
    empty_service: Service, spoiled: Any
) -> None:
    """Without anything that works, /ready is 503 with the reason and /predict says the same."""
    empty_service.versions.bundles[1] = spoiled
    empty_service.promote(1)
    ready, answer = (
        empty_service.client.get("/ready"),
        empty_service.client.post("/predict", json={}),
    )
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert ready.json()["reason"] == answer.json()["detail"]
    assert "self-test" in answer.json()["detail"]


def test_a_refused_version_is_tried_again_later_and_not_hammered(service: Service) -> None:
    """Tries come 5, 10, 20 ... seconds apart, and a version that recovered comes into service."""
    service.versions.load_faults[2] = OSError("disk")
    service.promote(2)
    tries = []
    for second in range(1, 60):
        service.clock.pass_seconds(1)
        before = len(service.versions.loads)
        service.follow()
        if len(service.versions.loads) > before:
            tries.append(second)
    assert tries == [5, 15, 35]
    del service.versions.load_faults[2]
    service.clock.pass_seconds(60)
    service.follow()
    assert service.predict()["version"] == 2
    assert service.client.get("/ready").json()["refused"] == {}


def test_another_version_is_tried_at_once_after_a_refusal(service: Service) -> None:
    """The wait is the refused version's own: a repaired successor does not share it."""
    service.versions.load_faults[2] = OSError("disk")
    service.promote(2)
    service.promote(3)
    assert service.predict()["version"] == 3


def test_with_the_registry_down_the_model_answers_on_and_says_so(service: Service) -> None:
    """Answers go on, /ready stays 200 and names the fault, the gauge falls, and all recovers by
    itself."""
    service.versions.unreachable = RegistryError(
        where="MLflow", wanted="an answer", got="connection refused", then="start it"
    )
    service.follow()
    assert service.predict()["version"] == 1
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    assert (
        "unreachable: MLflow: wanted an answer, got connection refused" in ready.json()["registry"]
    )
    assert service.metric("closedloop_registry_reachable") == 0
    service.versions.unreachable = None
    service.follow()
    assert service.client.get("/ready").json()["registry"] == "reachable"
    assert service.metric("closedloop_registry_reachable") == 1


def test_a_service_that_starts_without_a_registry_says_so_and_recovers(
    empty_service: Service,
) -> None:
    """Not ready with the registry's fault as the reason; ready once it is back."""
    empty_service.versions.unreachable = ConnectionError("nobody there")
    empty_service.promote(1)
    assert "nobody there" in empty_service.client.get("/ready").json()["reason"]
    empty_service.versions.unreachable = None
    empty_service.follow()
    assert empty_service.client.get("/ready").json()["ready"] is True


def test_a_lost_alias_does_not_take_the_model_away(service: Service) -> None:
    """When nothing is in production any more, the last version answers on, and /ready says so."""
    service.versions.production = None
    service.follow()
    assert service.predict()["version"] == 1
    assert "nothing is in production any more" in service.client.get("/ready").json()["reason"]


def test_a_note_that_fails_does_not_stop_the_swap(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The new version answers, and the failure is in the log."""
    service.versions.note_fault = OSError("journal is full")
    service.promote(2)
    assert service.predict()["version"] == 2
    assert "version 2 is live, but this could not be noted in the journal" in caplog.text


def test_a_request_is_answered_by_the_version_it_began_with(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap in the middle of an answer changes neither its numbers nor the version it names."""
    expected = service.predict()["predictions"][0]["probabilities"]
    original = LoadedModel.answer

    def answer_during_swap(model: LoadedModel, rows: Any) -> Any:
        service.promote(2)
        return original(model, rows)

    monkeypatch.setattr(LoadedModel, "answer", answer_during_swap)
    answer = service.predict()
    assert service.production.current.version == 2
    assert answer["version"] == 1
    assert answer["predictions"][0]["probabilities"] == expected


def test_the_thread_follows_from_start_to_end_of_the_app(make_service: Any) -> None:
    """Inside the app's life a promotion arrives by itself; after it the thread is gone."""
    service = make_service(follow_seconds=0.01)
    arrived = Event()
    note_live = service.versions.note_live
    service.follower._note_live = lambda version: (note_live(version), arrived.set())
    service.versions.production = 1
    with TestClient(service.app) as client:
        assert arrived.wait(30)
        assert client.get("/ready").json()["version"] == 1
        thread = service.follower._thread
        assert thread.is_alive()
    assert not thread.is_alive()


def test_the_first_look_comes_before_the_first_request(
    empty_service: Service, good_row: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has just started answers its first request with the model, though its following
    thread has not run yet: otherwise it would refuse what another worker could answer."""
    empty_service.versions.production = 1
    monkeypatch.setattr(empty_service.follower, "start", lambda: None)
    with TestClient(empty_service.app) as client:
        assert client.post("/predict", json={"rows": [good_row]}).status_code == 200


def test_ready_tells_what_somebody_moved_until_it_is_in_order(service: Service) -> None:
    """Asked at once and then every five seconds; while it cannot be asked the last answer stays,
    and the service answers all the while."""
    answers: list[Any] = ["production points at version 7", RegistryError, ""]

    def tell() -> str:
        answer = answers.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer(where="MLflow", wanted="an answer", got="none", then="wait")

    versions = service.versions
    follower = Follower(
        service.production,
        versions.find_production,
        versions.load,
        versions.note_live,
        tell_moved=tell,
        now=service.clock,
    )
    for left in (2, 2, 1, 1, 0):
        follower.look_at_aliases()
        assert len(answers) == left
        moved = service.client.get("/ready").json()["moved"]
        assert moved == ("production points at version 7" if left else None)
        service.clock.pass_seconds(2.5)
    assert service.predict()["version"] == 1
