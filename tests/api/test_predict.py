"""POST /predict: what is answered, what is refused, what is on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.windows.prepare import prepare
from tests.postgres import postgres, postgres_url  # noqa: F401

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}


def without(name: str) -> dict[str, Any]:
    return {column: value for column, value in ROW.items() if column != name}


def test_answers_are_those_of_the_model_row_by_row(service: Service) -> None:
    """Probabilities equal the pipeline's own, the prediction is the likeliest class, rows keep
    their order, ids differ."""
    rows = [{**ROW, "monthly spend": spend} for spend in (1.0, 80.0, 499.0)]
    answer = service.predict(*rows)
    bundle = service.versions.bundles[1]
    expected = bundle.scorer.pipeline.predict_proba(
        prepare(pd.DataFrame(rows), bundle.use_case)[list(bundle.use_case.columns)]
    )
    got = np.array(
        [
            [prediction["probabilities"]["False"], prediction["probabilities"]["True"]]
            for prediction in answer["predictions"]
        ]
    )
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    assert [prediction["prediction"] for prediction in answer["predictions"]] == [
        ("False", "True")[best] for best in expected.argmax(axis=1)
    ]
    assert (answer["model"], answer["version"]) == ("shop", 1)
    assert len({prediction["id"] for prediction in answer["predictions"]}) == 3


def test_one_bare_row_is_answered_like_a_list_of_one(service: Service) -> None:
    """`{...}` and `{"rows": [{...}]}` give the same probabilities."""
    bare = service.client.post("/predict", json=ROW).json()["predictions"]
    assert bare[0]["probabilities"] == service.predict(ROW)["predictions"][0]["probabilities"]


def test_null_is_a_value(service: Service) -> None:
    """A row of nulls is answered: missing values are the model's business."""
    assert service.predict(dict.fromkeys(ROW))["predictions"][0]["prediction"] in ("False", "True")


@pytest.mark.parametrize(
    ("sent", "recorded"), [(True, "True"), (1, "1"), (1.0, "1"), ("basic", "basic")]
)
def test_a_category_has_one_spelling(service: Service, sent: Any, recorded: str) -> None:
    """Truth values and whole numbers in a categorical column mean what training read in them."""
    service.predict({**ROW, "returning": sent})
    assert service.records.read(service.use_case)["returning"].tolist() == [recorded]


@pytest.mark.parametrize(
    ("sent", "means"),
    [(3, 3.0), ("3.5", 3.5), (-0.0, 0.0), ("1,234.50", 1234.5), ("(12 %)", -12.0)],
)
def test_a_number_may_be_whole_or_written_as_text(
    service: Service, sent: Any, means: float
) -> None:
    """Whole numbers and texts that are numbers are numbers, read as in files."""
    service.predict({**ROW, "visits": sent})
    assert service.records.read(service.use_case)["visits"].tolist() == [means]


def test_a_value_outside_the_contract_is_answered_with_a_warning(service: Service) -> None:
    """Only the row with the strange values carries warnings, and each names column, value and
    contract."""
    strange = {**ROW, "monthly spend": 501, "plan": "iron"}
    first, second = service.predict(ROW, strange)["predictions"]
    assert first["warnings"] == []
    assert second["warnings"] == [
        "monthly spend 501 is above its maximum 500",
        "plan 'iron' is not one of basic, gold",
    ]
    assert service.metric("closedloop_prediction_warnings_total") == 1


def test_every_answered_prediction_is_on_record(service: Service) -> None:
    """After five rows in two requests the records hold these five, with key, features and
    version."""
    answered = service.predict(
        *[{**ROW, "customer": f"c{number}", "visits": number} for number in range(3)]
    )["predictions"]
    answered += service.predict(ROW, ROW)["predictions"]
    frame = service.records.read(service.use_case)
    assert sorted(frame["visits"]) == [0, 1, 2, 3, 3]
    without_key = [prediction["id"] for prediction in answered[3:]]
    assert frame["customer"].tolist() == ["c0", "c1", "c2", *without_key]
    assert service.client.post(
        "/labels",
        json={"labels": [{"id": prediction["id"], "label": "True"} for prediction in answered]},
    ).json() == {"recorded": 5}
    assert service.records.read(service.use_case)["left"].tolist() == ["True"] * 5


BAD_ROWS = [
    # what is sent, the place that must be named, words that must be said
    (
        {"rows": [{**ROW, "visits": "many"}]},
        ["rows", 0, "visits"],
        'wanted a number up to 3.4e+38 or null, got "many"',
    ),
    ({"rows": [ROW, {**ROW, "visits": True}]}, ["rows", 1, "visits"], "got true"),
    ({"rows": [{**ROW, "visits": "nan"}]}, ["rows", 0, "visits"], 'got "nan"'),
    ({"rows": [{**ROW, "visits": "inf"}]}, ["rows", 0, "visits"], 'got "inf"'),
    ({"rows": [{**ROW, "visits": 1e39}]}, ["rows", 0, "visits"], "got 1e+39"),
    ({"rows": [{**ROW, "visits": 10**400}]}, ["rows", 0, "visits"], "too large"),
    ({"rows": [{**ROW, "visits": ""}]}, ["rows", 0, "visits"], 'got ""'),
    ({"rows": [{**ROW, "visits": "0,125"}]}, ["rows", 0, "visits"], 'got "0,125"'),
    ({"rows": [{**ROW, "visits": "1_000"}]}, ["rows", 0, "visits"], 'got "1_000"'),
    ({"rows": [{**ROW, "visits": "true"}]}, ["rows", 0, "visits"], 'got "true"'),
    ({"rows": [{**ROW, "visits": [1]}]}, ["rows", 0, "visits"], "got a list of 1"),
    ({"rows": [{**ROW, "plan": 1.5}]}, ["rows", 0, "plan"], "wanted a text or null, got 1.5"),
    ({"rows": [{**ROW, "plan": {"a": 1}}]}, ["rows", 0, "plan"], "got an object of 1"),
    ({"rows": [without("visits")]}, ["rows", 0, "visits"], "send every feature"),
    ({"rows": [{**ROW, "vists": 3}]}, ["rows", 0, "vists"], "did you mean visits?"),
    ({"rows": [{**ROW, "zzz": 3}]}, ["rows", 0, "zzz"], "the model knows monthly spend, "),
    ({"rows": [{**ROW, "left": "True"}]}, ["rows", 0, "left"], "what the model predicts"),
    ({"rows": [{**ROW, "customer": ""}]}, ["rows", 0, "customer"], "wanted a key"),
    ({"rows": [{**ROW, "customer": "a\0b"}]}, ["rows", 0, "customer"], "NUL"),
    ({"rows": [{**ROW, "customer": "x" * 501}]}, ["rows", 0, "customer"], "1 to 500"),
    ({"rows": [ROW, 5]}, ["rows", 1], "wanted an object of features, got 5"),
    ({"rows": [ROW, None]}, ["rows", 1], "got null"),
    ({"rows": []}, ["rows"], "empty list"),
    ({"rows": ROW}, ["rows"], "wanted a list"),
    ({"rows": [ROW], "mode": "fast"}, ["mode"], "unknown field"),
    ({**ROW, "visits": "many"}, ["visits"], 'got "many"'),
    (without("plan"), ["plan"], "send every feature"),
    ({}, ["monthly spend"], "send every feature"),
    ([ROW], [], "wanted"),
    ("rows", [], "wanted"),
    (None, [], "wanted"),
]


@pytest.mark.parametrize(("body", "place", "words"), BAD_ROWS)
def test_bad_rows_are_refused_by_name(
    service: Service, body: Any, place: list[Any], words: str
) -> None:
    """Each fault is a 422 that names field and row, says what was wanted, and leaves nothing on
    record."""
    answer = service.client.post("/predict", json=body)
    assert answer.status_code == 422
    first = answer.json()["detail"][0]
    assert first["loc"] == ["body", *place]
    assert words in first["msg"]
    assert len(service.records.read(service.use_case)) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"rows": [NaN]}',
        b"\xff\xfe",
        b'"\\ud800"',
        b"[" * 100_000,
        b"1" * 100_000,
        b'{"visits": 1e999}',
    ],
)
@pytest.mark.parametrize("route", ["/predict", "/explain", "/labels"])
def test_what_is_no_json_is_refused(service: Service, route: str, body: bytes) -> None:
    """Torn, binary, endless and not-a-number bodies are 422, as is a number that overflows."""
    answer = service.client.post(route, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


def test_all_faults_of_a_request_are_listed_up_to_a_hundred(service: Service) -> None:
    """150 bad rows give a hundred named faults and the number of the others."""
    detail = service.client.post("/predict", json={"rows": [{**ROW, "visits": "x"}] * 150}).json()[
        "detail"
    ]
    assert len(detail) == 101
    assert detail[-1]["msg"] == "50 more faults are not listed"


def test_too_many_rows_are_refused(make_service: Callable[..., Service]) -> None:
    """One row over the limit is a 413 that says the limit; the limit itself is answered."""
    service = make_service(max_rows=3)
    service.promote(1)
    assert len(service.predict(ROW, ROW, ROW)["predictions"]) == 3
    answer = service.client.post("/predict", json={"rows": [ROW] * 4})
    assert answer.status_code == 413
    assert "at most 3 rows" in answer.json()["detail"]


def test_columns_may_have_any_name(empty_service: Service, make_bundle: Callable[..., Any]) -> None:
    """Columns called like Python words, like pydantic's own, or `rows` are columns like any
    other."""
    names = ["class", "model_config", "_private", "rows", "f0", "0", "größe (m²)"]
    content = {
        "name": "odd",
        "target": {"column": "y", "classes": ["a", "b"]},
        "source": {"query": "select 1", "windows": "*.csv"},
        "columns": {name: {"type": "numeric"} for name in names},
    }
    empty_service.versions.bundles[7] = make_bundle("odd", content=content, classes=("a", "b"))
    empty_service.promote(7)
    row = dict.fromkeys(names, 1.0)
    assert empty_service.client.post("/predict", json=row).status_code == 200
    assert empty_service.client.post("/predict", json={"rows": [row]}).status_code == 200
    refused = empty_service.client.post("/predict", json={"rows": [{**row, "_private": "x"}]})
    assert refused.json()["detail"][0]["loc"] == ["body", "rows", 0, "_private"]


def test_three_classes_have_three_probabilities(
    empty_service: Service, make_bundle: Callable[..., Any]
) -> None:
    """A model of three classes answers with the probability of each."""
    empty_service.versions.bundles[7] = make_bundle("three", classes=("a", "b", "c"))
    empty_service.promote(7)
    probabilities = empty_service.predict()["predictions"][0]["probabilities"]
    assert list(probabilities) == ["a", "b", "c"]
    assert sum(probabilities.values()) == pytest.approx(1)
