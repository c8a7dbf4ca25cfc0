"""The Open Inference Protocol, asked by Triton's own client on a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from closedloop.bundle.loaded import LoadedVersion
from tests.api.v2_requests import (  # noqa: F401
    ARRAYS,
    GOOD,
    PACKED,
    ROWS,
    STANDING,
    URL,
    client,
    make_inputs,
    make_outputs,
    tensor,
)

Service = Any  # tests/api/conftest.py


def expect(service: Service) -> tuple[np.ndarray, list[str]]:
    """What /predict says of ROWS."""
    found = service.predict(*ROWS)["predictions"]
    return np.array([list(prediction["probabilities"].values()) for prediction in found]), [
        prediction["prediction"] for prediction in found
    ]


@pytest.mark.parametrize("arrays", [ARRAYS, PACKED, STANDING], ids=["columns", "packed", "n x 1"])
@pytest.mark.parametrize("sent", [True, False], ids=["bytes in", "json in"])
@pytest.mark.parametrize(
    "got", [True, False, None], ids=["bytes out", "json out", "client's choice"]
)
def test_tritons_client_gets_the_answers_of_predict(
    service: Service,
    client: triton.InferenceServerClient,
    arrays: dict[str, np.ndarray],
    sent: bool,
    got: bool | None,
) -> None:
    """Tensors as bytes or JSON, one per column or packed, with NaN and empty texts for null, give
    exactly what /predict gives."""
    probabilities, predictions = expect(service)
    result = client.infer(
        "shop",
        make_inputs(arrays, binary=sent),
        outputs=None if got is None else make_outputs(binary=got),
        request_id="r 1",
    )
    np.testing.assert_array_equal(result.as_numpy("probabilities"), probabilities)
    assert result.as_numpy("probabilities").dtype == np.float64
    assert [
        label.decode() if isinstance(label, bytes) else label
        for label in result.as_numpy("prediction")
    ] == predictions
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("shop", "1", "r 1")
    assert answer["parameters"]["model_version"] == "1"
    ids = answer["parameters"]["prediction_ids"].split(",")
    labelled = service.client.post(
        "/labels", json={"labels": [{"id": id, "label": "True"} for id in ids]}
    )
    assert labelled.json() == {"recorded": 3}


def test_the_outputs_are_those_that_were_asked_for(client: triton.InferenceServerClient) -> None:
    """One output comes alone, two come in the order of the request, one as bytes and the other as
    JSON."""
    single = client.infer(
        "shop",
        make_inputs(ARRAYS, binary=True),
        outputs=make_outputs(binary=False, names=("prediction",)),
    )
    assert [output["name"] for output in single.get_response()["outputs"]] == ["prediction"]
    mixed = [
        *make_outputs(binary=True, names=("prediction",)),
        *make_outputs(binary=False, names=("probabilities",)),
    ]
    both = client.infer("shop", make_inputs(ARRAYS, binary=False), outputs=mixed)
    assert [output["name"] for output in both.get_response()["outputs"]] == [
        "prediction",
        "probabilities",
    ]
    assert both.as_numpy("prediction").shape == (3,)
    assert both.as_numpy("probabilities").shape == (3, 2)


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "int32", "bool"])
@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
def test_numbers_of_every_type_mean_the_same(
    service: Service, client: triton.InferenceServerClient, kind: str, binary: bool
) -> None:
    """1 and 0 give the same answer as floats, whole numbers or truth values."""
    plain = [
        {"monthly spend": number, "visits": number, "plan": "gold", "returning": "True"}
        for number in (1, 0)
    ]
    expected = [
        list(prediction["probabilities"].values())
        for prediction in service.predict(*plain)["predictions"]
    ]
    numbers, texts = (
        np.array([1, 0]).astype(kind),
        {"plan": ["gold"] * 2, "returning": ["True"] * 2},
    )
    arrays = {
        "visits": numbers,
        "monthly spend": numbers,
        **{name: np.array(values, dtype=np.object_) for name, values in texts.items()},
    }
    result = client.infer(
        "shop", make_inputs(arrays, binary=binary), outputs=make_outputs(binary=binary)
    )
    np.testing.assert_array_equal(result.as_numpy("probabilities"), expected)


def test_the_key_is_recorded_and_texts_may_be_truth_values(
    service: Service, client: triton.InferenceServerClient
) -> None:
    """An input of the key's name names the rows for their labels; a BOOL tensor for a text is
    spelled as /predict spells it."""
    arrays = {
        **ARRAYS,
        "returning": np.array([True, False, True]),
        "customer": np.array([17, 18, 19]),
    }
    result = client.infer("shop", make_inputs(arrays, binary=True))
    assert result.as_numpy("probabilities").shape == (3, 2)
    recorded = service.records.read(service.use_case)
    assert sorted(recorded["customer"]) == ["17", "18", "19"]
    assert sorted(recorded["returning"]) == ["False", "True", "True"]


def test_the_server_and_the_model_describe_themselves(
    service: Service, client: triton.InferenceServerClient
) -> None:
    """Metadata names extension, inputs, outputs, classes, key and the packed form, for the model
    and for its live version."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("shop")
    assert client.is_model_ready("shop", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata("shop")
    assert found == client.get_model_metadata("shop", "1")
    assert found["versions"] == ["1"]
    assert {
        tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in found["inputs"]
    } == {
        "monthly spend": ("FP64", [-1]),
        "visits": ("FP64", [-1]),
        "plan": ("BYTES", [-1]),
        "returning": ("BYTES", [-1]),
    }
    assert {
        tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in found["outputs"]
    } == {
        "probabilities": ("FP64", [-1, 2]),
        "prediction": ("BYTES", [-1]),
    }
    assert found["parameters"] == {
        "classes": ["False", "True"],
        "key": "customer",
        "packed": {"numbers": ["monthly spend", "visits"], "texts": ["plan", "returning"]},
    }


def test_only_the_live_version_is_served(
    service: Service, client: triton.InferenceServerClient
) -> None:
    """A promotion moves what is served: the version before is refused by name, as is another model,
    and the client shows the reason."""
    service.promote(2)
    assert (
        client.infer("shop", make_inputs(ARRAYS, binary=True), model_version="2").get_response()[
            "model_version"
        ]
        == "2"
    )
    with pytest.raises(
        InferenceServerException,
        match=r'version "1" of shop: wanted 2, the live version, got another',
    ) as refused:
        client.infer("shop", make_inputs(ARRAYS, binary=True), model_version="1")
    assert refused.value.status() == "404"
    with pytest.raises(
        InferenceServerException, match=r'model "other": wanted shop, the only model here'
    ):
        client.get_model_metadata("other")
    assert not client.is_model_ready("shop", "1")


def test_without_a_model_it_lives_and_is_not_ready(empty_service: Service) -> None:
    """Everything but life is 503 in the form of the protocol."""
    empty_service.follow()
    assert empty_service.client.get("/v2/health/live").json() == {"live": True}
    for path in ("/v2/health/ready", "/v2/models/shop", "/v2/models/shop/ready"):
        answer = empty_service.client.get(path)
        assert (answer.status_code, answer.json()) == (
            503,
            {"error": empty_service.production.reason},
        )
    assert empty_service.client.post(URL, json={}).status_code == 503


def test_it_is_not_ready_while_answers_cannot_be_recorded(service: Service, tmp_path: Path) -> None:
    """Without the database nothing is answered, and both protocols say so to load balancers."""
    service.engine.dispose()
    shutil.move(tmp_path / "store", tmp_path / "away")
    assert service.client.post(URL, json={"inputs": GOOD}).status_code == 503
    for path in ("/v2/health/ready", "/v2/models/shop/ready"):
        answer = service.client.get(path)
        assert answer.status_code == 503
        assert "answers cannot be recorded: " in answer.json()["error"]
    assert service.client.get("/ping").status_code == 404
    assert service.client.get("/v2/health/live").status_code == 200


def test_large_and_too_large_requests(make_service: Callable[..., Service]) -> None:
    """Thousands of rows are answered in a thread as a few are; beyond the limit it is 413 in the
    form of the protocol."""
    service = make_service(max_rows=5_000)
    service.promote(1)
    arrays = {name: np.concatenate([values] * 1_000) for name, values in PACKED.items()}
    body, length = triton.InferenceServerClient.generate_request_body(
        make_inputs(arrays, binary=True)
    )
    answer = service.client.post(
        URL, content=body, headers={"Inference-Header-Content-Length": str(length)}
    )
    assert answer.status_code == 200
    result = triton.InferenceServerClient.parse_response_body(
        answer.content, header_length=int(answer.headers["Inference-Header-Content-Length"])
    )
    np.testing.assert_array_equal(result.as_numpy("probabilities")[-3:], expect(service)[0])
    many = [tensor(good["name"], good["data"] * 5_001, good["datatype"], [5_001]) for good in GOOD]
    refused = service.client.post(URL, json={"inputs": many})
    assert refused.status_code == 413
    assert "at most 5000 rows" in refused.json()["error"]


def test_columns_called_numbers_are_columns(
    make_service: Callable[..., Service], make_bundle: Callable[..., LoadedVersion]
) -> None:
    """A model with a column of that name has no packed form by that name."""
    service = make_service()
    content = {
        "name": "shop",
        "target": {"column": "left"},
        "source": {"query": "select 1", "windows": "*.csv"},
        "columns": {
            "numbers": {"type": "numeric"},
            "size": {"type": "numeric"},
            "plan": {"type": "categorical"},
        },
    }
    service.versions.bundles[4] = make_bundle("numbers", content=content)
    service.promote(4)
    assert service.client.get("/v2/models/shop").json()["parameters"]["packed"] == {
        "texts": ["plan"]
    }
    inputs = [
        tensor("numbers", [1]),
        tensor("size", [2]),
        tensor("texts", [["gold"]], "BYTES", [1, 1]),
    ]
    assert service.client.post(URL, json={"inputs": inputs}).status_code == 200
