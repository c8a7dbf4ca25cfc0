"""A request without an optional column: its value is null, whatever the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import CONTENT, GOOD_ROW
from tests.api.mlflow_requests import ask, write_csv

Service = Any  # tests/api/conftest.py
LEFT_OUT = ("visits", "plan")
SHORT = {name: value for name, value in GOOD_ROW.items() if name not in LEFT_OUT}


@pytest.fixture
def lenient(empty_service: Service, make_bundle: Callable[..., Any]) -> Service:
    """A service whose model has one optional number and one optional category."""
    columns = {
        name: {**column, **({"optional": True} if name in LEFT_OUT else {})}
        for name, column in CONTENT["columns"].items()
    }
    bundle = make_bundle("lenient", content={**CONTENT, "columns": columns})
    empty_service.versions.bundles[7] = bundle
    empty_service.promote(7)
    return empty_service


def test_a_request_may_lack_an_optional_column(lenient: Service) -> None:
    """All forms of a request without it have the score of a null; a column that is not optional is
    still asked for by name."""
    [expected] = lenient.predict({**SHORT, **dict.fromkeys(LEFT_OUT)})["predictions"]
    [short] = lenient.predict(SHORT)["predictions"]
    assert short["probabilities"] == expected["probabilities"]
    bare = lenient.client.post("/predict", json=SHORT).json()["predictions"][0]
    assert bare["probabilities"] == expected["probabilities"]
    forms: list[Any] = [
        {"dataframe_split": {"columns": list(SHORT), "data": [list(SHORT.values())]}},
        {"dataframe_records": [SHORT]},
        {"instances": [SHORT]},
        {"inputs": {name: [value] for name, value in SHORT.items()}},
    ]
    answers = [lenient.client.post("/invocations", json=form) for form in forms]
    answers.append(ask(lenient.client, write_csv(list(SHORT), [*SHORT.values()]), "text/csv"))
    plain = {"dataframe_records": [{**SHORT, **dict.fromkeys(LEFT_OUT)}]}
    wanted = lenient.client.post("/invocations", json=plain).json()
    assert [answer.json() for answer in answers] == [wanted] * 5
    refused = lenient.client.post("/predict", json={"returning": True})
    assert [fault["loc"][-1] for fault in refused.json()["detail"]] == ["monthly spend"]
    missing = lenient.client.post("/invocations", json={"instances": [{"returning": True}]})
    assert "got none named monthly spend" in missing.json()["message"]


def test_the_documentation_says_what_may_be_left_out(lenient: Service) -> None:
    """Neither the rows of /predict nor the records of /invocations require an optional column."""
    schemas = lenient.client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["Record"]["required"] == ["monthly spend", "returning"]
    features = lenient.client.get("/model").json()["features"]
    assert {name for name, feature in features.items() if feature["optional"]} == set(LEFT_OUT)
    assert schemas["Row"]["required"] == ["monthly spend", "returning"]
