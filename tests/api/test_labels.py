"""POST /labels: which prediction a label finds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.guard.keys import Keys
from closedloop.operations.api_keys import Role, add_key
from closedloop.records.tables import CORRECTIONS
from tests.postgres import postgres, postgres_url  # noqa: F401

ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
Service = Any  # tests/api/conftest.py


def test_a_label_may_be_given_by_key(service: Service) -> None:
    """The label of a key goes to its newest prediction."""
    service.predict({**ROW, "customer": "c1", "visits": 1})
    service.clock.pass_seconds(1)
    service.predict({**ROW, "customer": "c1", "visits": 2})
    assert service.client.post(
        "/labels", json={"labels": [{"key": "c1", "label": False}]}
    ).json() == {"recorded": 1}
    frame = service.records.read(service.use_case).set_index("visits")
    assert (frame.loc[1, "left"], frame.loc[2, "left"]) == (None, "False")
    assert service.metric("closedloop_labels_total") == 1


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_label_may_be_given_by_key_and_time(
    make_service: Callable[..., Service], request: pytest.FixtureRequest, database: str
) -> None:
    """The label goes to the newest prediction that had been answered by then; the same again is no
    news, another a conflict with both values, and a time before the first prediction is a 404 that
    names key and time."""
    service = make_service(
        request.getfixturevalue("postgres_url") if database == "postgresql" else None
    )
    service.promote(1)
    for visits in (1, 2):
        service.predict({**ROW, "customer": "c1", "visits": visits})
        service.clock.pass_seconds(60)

    def send(label: str, at: str) -> Any:
        return service.client.post(
            "/labels", json={"labels": [{"key": "c1", "at": at, "label": label}]}
        )

    assert send("False", "2026-11-20T12:00:00Z").json() == {"recorded": 1}
    assert send("False", "2026-11-20T14:00:59+02:00").json() == {"recorded": 0}
    refused = send("True", "2026-11-20T12:00:30Z")
    assert refused.status_code == 409
    assert "'False'" in refused.json()["detail"]
    assert "'True'" in refused.json()["detail"]
    unknown = send("True", "2026-11-20T13:59:59+02:00")
    assert unknown.status_code == 404
    assert "none for key c1 at or before 2026-11-20T11:59:59+00:00" in unknown.json()["detail"]
    frame = service.records.read(service.use_case).set_index("visits")
    assert (frame.loc[1, "left"], frame.loc[2, "left"]) == ("False", None)


def test_the_documentation_shows_each_way_to_name_a_prediction(service: Service) -> None:
    """OpenAPI describes `at` as a time, and each of its examples of a label is read; the one with a
    time names key and time."""
    page = service.client.get("/openapi.json").json()
    field = page["components"]["schemas"]["LabelMessage"]["properties"]["at"]
    assert {"type": "string", "format": "date-time"} in field["anyOf"]
    assert "with a key" in field["description"]
    examples = page["paths"]["/labels"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]
    refused = {
        how: service.client.post("/labels", json=shown["value"]) for how, shown in examples.items()
    }
    assert {how: answer.status_code for how, answer in refused.items()} == dict.fromkeys(
        ("by id", "by key", "by key and time", "a correction"), 404
    )
    assert (
        "key the key of a row at or before 2026-11-20T12:00:00+00:00"
        in refused["by key and time"].json()["detail"]
    )


def test_a_contradicting_label_is_a_conflict_with_both_values(service: Service) -> None:
    """409 names what is on record and what was sent; sending the recorded one again is fine."""
    id = service.predict()["predictions"][0]["id"]

    def send(label: str) -> Any:
        return service.client.post("/labels", json={"labels": [{"id": id, "label": label}]})

    assert send("True").json() == {"recorded": 1}
    assert send("True").json() == {"recorded": 0}
    refused = send("False")
    assert refused.status_code == 409
    assert "'True'" in refused.json()["detail"]
    assert "'False'" in refused.json()["detail"]


def test_a_label_that_was_recorded_wrongly_can_be_corrected(service: Service) -> None:
    """The conflict says how, and windows then read the corrected label; anything but true or false
    for `replaces` is refused."""
    service.predict({**ROW, "customer": "c1"})

    def send(label: str, **more: Any) -> Any:
        labels = [{"key": "c1", "label": label, **more}]
        return service.client.post("/labels", json={"labels": labels})

    assert send("True").json() == {"recorded": 1}
    refused = send("False")
    assert refused.status_code == 409
    assert "send it with replaces: true if the recorded one is wrong" in refused.json()["detail"]
    assert send("False", replaces=False).status_code == 409
    assert send("False", replaces="yes").status_code == 422
    assert send("False", replaces=True).json() == {"recorded": 1}
    assert send("False", replaces=True).json() == {"recorded": 0}
    assert service.records.read(service.use_case)["left"].tolist() == ["False"]


@pytest.mark.parametrize(
    ("role", "status", "by"),
    [(None, 200, None), (Role.OPERATOR, 200, "anna"), (Role.CLIENT, 403, None)],
)
def test_once_there_are_keys_an_operator_corrects(
    make_service: Callable[..., Service],
    tmp_path: Path,
    role: Role | None,
    status: int,
    by: str | None,
) -> None:
    """Without keys everyone may, and the history says so with no name; a client's key adds labels
    and is refused a correction with the role that it takes, and nothing is recorded."""
    path, headers = tmp_path / "api_keys.json", {}
    if role is not None:
        headers = {"x-api-key": add_key(path, "anna", role)}
    service = make_service(keys=Keys(path, needed=False))
    service.promote(1)
    service.client.post("/predict", json={**ROW, "customer": "c1"}, headers=headers)

    def send(label: str, **more: Any) -> Any:
        labels = {"labels": [{"key": "c1", "label": label, **more}]}
        return service.client.post("/labels", json=labels, headers=headers)

    assert send("True").json() == {"recorded": 1}
    answer = send("False", replaces=True)
    assert answer.status_code == status
    with service.engine.connect() as connection:
        kept = [tuple(row) for row in connection.execute(select(CORRECTIONS.c.replaced_by))]
    if status == 200:
        assert kept == [(by,)]
        assert service.records.read(service.use_case)["left"].tolist() == ["False"]
    else:
        assert "role operator to correct a label, got anna with the role client" in answer.text
        assert kept == []
        assert service.records.read(service.use_case)["left"].tolist() == ["True"]


def test_the_older_word_corrects_too(service: Service) -> None:
    """`replace` is read as `replaces`; both at once are refused."""
    service.predict({**ROW, "customer": "c1"})

    def send(label: str, **more: Any) -> Any:
        labels = [{"key": "c1", "label": label, **more}]
        return service.client.post("/labels", json={"labels": labels})

    send("True")
    assert send("False", replace=True).json() == {"recorded": 1}
    assert send("True", replace=True, replaces=False).status_code == 422


def test_unknown_predictions_are_all_named(service: Service) -> None:
    """404 names every id without a prediction."""
    refused = service.client.post(
        "/labels", json={"labels": [{"id": "x1", "label": "True"}, {"id": "x2", "label": "True"}]}
    )
    assert refused.status_code == 404
    assert "id x1, id x2" in refused.json()["detail"]


NOON = "2026-11-20T12:00:00Z"
BAD_LABELS = [
    (
        {"labels": [{"id": "a", "label": "Perhaps"}]},
        ["labels", 0, "label"],
        'wanted one of False, True, got "Perhaps"',
    ),
    ({"labels": [{"id": "a", "label": None}]}, ["labels", 0, "label"], "string"),
    ({"labels": [{"id": "a"}]}, ["labels", 0, "label"], "required"),
    ({"labels": [{"label": "True"}]}, ["labels", 0], "either id or key"),
    ({"labels": [{"id": "a", "key": "b", "label": "True"}]}, ["labels", 0], "either id or key"),
    ({"labels": [{"id": "a\0", "label": "True"}]}, ["labels", 0, "id"], "NUL"),
    ({"labels": [{"id": "a", "label": "True", "when": 1}]}, ["labels", 0, "when"], "not permitted"),
    (
        {"labels": [{"id": "a", "at": NOON, "label": "True"}]},
        ["labels", 0, "at"],
        "only with a key, got one with an id",
    ),
    (
        {"labels": [{"key": "a", "at": NOON[:-1], "label": "True"}]},
        ["labels", 0, "at"],
        'got "2026-11-20T12:00:00", which has no time zone',
    ),
    (
        {"labels": [{"key": "a", "at": "2026-11-20", "label": "True"}]},
        ["labels", 0, "at"],
        "which has no time zone",
    ),
    (
        {"labels": [{"key": "a", "at": "noon", "label": "True"}]},
        ["labels", 0, "at"],
        "wanted an ISO 8601 time with a time zone",
    ),
    (
        {"labels": [{"key": "a", "at": "1700000000", "label": "True"}]},
        ["labels", 0, "at"],
        'got "1700000000"',
    ),
    (
        {"labels": [{"key": "a", "at": 1700000000, "label": "True"}]},
        ["labels", 0, "at"],
        "got 1700000000",
    ),
    (
        {"labels": [{"key": "a", "at": "9999-12-31T23:59:59-01:00", "label": "True"}]},
        ["labels", 0, "at"],
        "years 1 to 9999",
    ),
    ({"labels": [{"at": NOON, "label": "True"}]}, ["labels", 0], "either id or key"),
    ({"labels": [7]}, ["labels", 0], "LabelMessage"),
    ({"labels": []}, ["labels"], "empty list"),
    ({"labels": "a"}, ["labels"], "wanted a list"),
    ({"labels": [{"id": "a", "label": "True"}], "more": 1}, ["more"], "unknown field"),
    ([], ["labels"], "wanted"),
]


@pytest.mark.parametrize(("body", "place", "words"), BAD_LABELS)
def test_bad_labels_are_refused_by_name(
    service: Service, body: Any, place: list[Any], words: str
) -> None:
    """Each fault is a 422 that names the field."""
    answer = service.client.post("/labels", json=body)
    assert answer.status_code == 422
    first = answer.json()["detail"][0]
    assert first["loc"] == ["body", *place]
    assert words in first["msg"]
