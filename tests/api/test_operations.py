"""What those who run the service see: health, readiness, model, metrics, documentation, and faults
of the database."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.model.answer import LoadedModel
from tests.postgres import Cluster, postgres, postgres_url  # noqa: F401

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}


def test_without_a_model_every_route_says_what_to_do(empty_service: Service) -> None:
    """Alive but not ready; /predict, /labels and /model are 503 that name the commands that bring a
    model."""
    empty_service.follow()
    client = empty_service.client
    assert client.get("/health").json() == {"alive": True}
    assert client.get("/ready").status_code == 503
    for answer in (
        client.post("/predict", json=ROW),
        client.post("/labels", json={}),
        client.get("/model"),
    ):
        assert answer.status_code == 503
        assert (
            answer.json()["detail"]
            == "no model in production yet: run closedloop monitor or closedloop train"
        )
    assert empty_service.metric("closedloop_model_version") == 0
    assert empty_service.metric("closedloop_model_wanted_version") == 0


def test_model_tells_what_answers(service: Service) -> None:
    """Version, recipe, classes, score, windows and the contract of each feature are those of the
    bundle."""
    answer = service.client.get("/model").json()
    assert (answer["name"], answer["version"], answer["recipe"], answer["val_auc"]) == (
        "shop",
        1,
        "logistic/all",
        0.7,
    )
    assert answer["classes"] == ["False", "True"]
    assert answer["trained_windows"] == ["w0", "w1"]
    assert answer["features"]["monthly spend"] == {
        "type": "numeric",
        "minimum": 0,
        "maximum": 500,
        "allowed": [],
        "optional": False,
        "recorded": True,
    }
    assert answer["features"]["plan"]["allowed"] == ["basic", "gold"]
    assert answer["loaded_at"] == "2026-11-20T12:00:00+00:00"


def test_metrics_count_what_happened(service: Service) -> None:
    """Requests by route and status, rows by version and class, and the live version, with made-up
    paths under one name."""
    predicted = [row["prediction"] for row in service.predict(ROW, ROW)["predictions"]]
    service.client.post("/predict", json={})
    service.client.get("/made/up")
    assert service.metric('closedloop_requests_total{route="/predict",status="200"}') == 1
    assert service.metric('closedloop_requests_total{route="/predict",status="422"}') == 1
    assert service.metric('closedloop_requests_total{route="unmatched",status="404"}') == 1
    assert service.metric('closedloop_request_seconds_count{route="/predict"}') == 2
    assert (
        service.metric(f'closedloop_predictions_total{{prediction="{predicted[0]}",version="1"}}')
        == 2
    )
    assert service.metric("closedloop_model_version") == 1
    assert service.metric("closedloop_model_wanted_version") == 1
    assert (
        service.metric("closedloop_model_loaded_timestamp_seconds")
        == service.clock.moment.timestamp()
    )
    assert service.metric("closedloop_registry_reachable") == 1


def test_two_apps_in_one_process_count_apart(make_service: Callable[..., Service]) -> None:
    """A request to one app leaves the other's counters alone."""
    asked, other = make_service(), make_service()
    asked.client.get("/health")
    assert asked.metric('closedloop_requests_total{route="/health",status="200"}') == 1
    assert other.metric('closedloop_requests_total{route="/health",status="200"}') is None


def test_the_documentation_follows_the_model(empty_service: Service) -> None:
    """Any row before the first model, then this model's own features and an example that the
    service accepts."""
    before = empty_service.client.get("/openapi.json").json()
    assert "additionalProperties" in before["components"]["schemas"]["Row"]
    empty_service.promote(1)
    page = empty_service.client.get("/openapi.json").json()
    row = page["components"]["schemas"]["Row"]
    assert set(row["properties"]) == {*ROW, "customer"}
    assert sorted(row["required"]) == sorted(ROW)
    assert "up to 500" in row["properties"]["monthly spend"]["description"]
    examples = page["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]
    for example in examples.values():
        assert empty_service.client.post("/predict", json=example["value"]).status_code == 200
    answers = page["paths"]["/predict"]["post"]["responses"]
    assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "PredictionsAnswer"
    )
    assert {"413", "422", "503"} <= set(answers)
    assert empty_service.client.get("/docs").status_code == 200


def test_every_reference_in_the_documentation_leads_somewhere(service: Service) -> None:
    """No $ref of the page is dangling."""
    page = service.client.get("/openapi.json")
    names = {part.split('"')[0] for part in page.text.split("#/components/schemas/")[1:]}
    assert names <= set(page.json()["components"]["schemas"])


def test_an_answer_that_cannot_be_recorded_is_not_given(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    """With the database gone /predict and /labels are 503 with the reason and are counted; when it
    is back they work again."""
    service = make_service()
    service.promote(1)
    id = service.predict()["predictions"][0]["id"]
    store, away = tmp_path / "store", tmp_path / "away"
    service.engine.dispose()
    shutil.move(store, away)
    answer = service.client.post("/predict", json=ROW)
    assert answer.status_code == 503
    assert "not recorded, so not answered" in answer.json()["detail"]
    assert (
        service.client.post("/labels", json={"labels": [{"id": id, "label": "True"}]}).status_code
        == 503
    )
    assert service.metric("closedloop_records_failures_total") == 2
    assert service.client.get("/health").status_code == 200
    shutil.move(away, store)
    service.predict()
    assert service.client.post(
        "/labels", json={"labels": [{"id": id, "label": "True"}]}
    ).json() == {"recorded": 1}
    assert len(service.records.read(service.use_case)) == 2


def test_a_postgresql_that_stops_and_starts_again_is_survived(
    make_service: Callable[..., Service],
    postgres: Cluster,
    postgres_url: str,
) -> None:
    """While the server is down nothing is answered; once it is up the same service answers and has
    lost nothing it answered."""
    service = make_service(postgres_url)
    service.promote(1)
    service.predict()
    postgres.stop()
    try:
        assert service.client.post("/predict", json=ROW).status_code == 503
    finally:
        postgres.start()
    service.predict()
    assert len(service.records.read(service.use_case)) == 2


def test_a_model_that_fails_on_a_good_row_is_a_503_with_the_reason(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client learns which version failed and how; the service lives on."""

    def fail(model: LoadedModel, rows: Any) -> Any:
        raise FloatingPointError("overflow")

    monkeypatch.setattr(LoadedModel, "answer", fail)
    answer = service.client.post("/predict", json=ROW)
    assert answer.status_code == 503
    assert (
        answer.json()["detail"]
        == "version 1 could not answer these rows: FloatingPointError: overflow"
    )
    monkeypatch.undo()
    service.predict()


def test_a_fault_of_our_own_is_a_503_with_an_id_that_is_in_the_log(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even what nobody foresaw is no bare 500: the body names an id, and the log has the traceback
    under it."""
    monkeypatch.setattr(service.records, "append", lambda rows: 1 / 0)
    answer = service.client.post("/predict", json=ROW)
    assert answer.status_code == 503
    assert answer.json()["error_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert service.metric('closedloop_requests_total{route="/predict",status="503"}') == 1


def test_the_service_needs_neither_mlflow_nor_evidently() -> None:
    """Importing the whole service loads no library that only training and monitoring need."""
    code = (
        "import api.app, sys\n"
        "heavy = ('mlflow', 'evidently', 'prefect', 'duckdb', 'lightgbm')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
