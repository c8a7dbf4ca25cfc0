"""The Open Inference Protocol: Triton's own client against a real server, and what no client of it
would send."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from closedloop.bundle.loaded import LoadedVersion

Service = Any  # tests/api/conftest.py
ROWS: list[dict[str, Any]] = [
    {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": "True"},
    {"monthly spend": None, "visits": -7, "plan": "basic", "returning": "False"},
    {"monthly spend": 499.0, "visits": 90, "plan": "größer", "returning": ""},
]
SPEND = np.array([20.5, np.nan, 499.0])
VISITS = np.array([3, -7, 90])
PLAN = np.array(["gold", "basic", "größer"], dtype=np.object_)
RETURNING = np.array(["True", "False", ""], dtype=np.object_)
ARRAYS = {"monthly spend": SPEND, "visits": VISITS, "plan": PLAN, "returning": RETURNING}
PACKED = {
    "numbers": np.stack([SPEND, VISITS.astype(float)], axis=1),
    "texts": np.stack([PLAN, RETURNING], axis=1),
}
STANDING = {name: values.reshape(-1, 1) for name, values in ARRAYS.items()}
URL = "/v2/models/shop/infer"


@pytest.fixture
def client(service: Service) -> Iterator[triton.InferenceServerClient]:
    """Triton's client, connected to the service behind uvicorn on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(service.app, log_level="warning", access_log=False, lifespan="off")
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    connected = triton.InferenceServerClient(f"127.0.0.1:{listening.getsockname()[1]}")
    try:
        yield connected
    finally:
        connected.close()
        server.should_exit = True
        thread.join(30)
        listening.close()
    assert not thread.is_alive()


def make_inputs(arrays: dict[str, np.ndarray], *, binary: bool) -> list[triton.InferInput]:
    made = []
    for name, values in arrays.items():
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        made.append(tensor.set_data_from_numpy(values, binary_data=binary))
    return made


def make_outputs(
    *, binary: bool, names: tuple[str, ...] = ("probabilities", "prediction")
) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def expect(service: Service) -> tuple[np.ndarray, list[str]]:
    """What /predict says of ROWS."""
    found = service.predict(*ROWS)["predictions"]
    return np.array([list(one["probabilities"].values()) for one in found]), [
        one["prediction"] for one in found
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
        one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("prediction")
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
    one = client.infer(
        "shop",
        make_inputs(ARRAYS, binary=True),
        outputs=make_outputs(binary=False, names=("prediction",)),
    )
    assert [output["name"] for output in one.get_response()["outputs"]] == ["prediction"]
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
        {"monthly spend": one, "visits": one, "plan": "gold", "returning": "True"} for one in (1, 0)
    ]
    expected = [
        list(one["probabilities"].values()) for one in service.predict(*plain)["predictions"]
    ]
    numbers, texts = (
        np.array([1, 0]).astype(kind),
        {"plan": ["gold"] * 2, "returning": ["True"] * 2},
    )
    arrays = {
        "visits": numbers,
        "monthly spend": numbers,
        **{name: np.array(one, dtype=np.object_) for name, one in texts.items()},
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
    assert {one["name"]: (one["datatype"], one["shape"]) for one in found["inputs"]} == {
        "monthly spend": ("FP64", [-1]),
        "visits": ("FP64", [-1]),
        "plan": ("BYTES", [-1]),
        "returning": ("BYTES", [-1]),
    }
    assert {one["name"]: (one["datatype"], one["shape"]) for one in found["outputs"]} == {
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
        match=r'version "1" of shop: wanted 2, for only the live version is served',
    ) as refused:
        client.infer("shop", make_inputs(ARRAYS, binary=True), model_version="1")
    assert refused.value.status() == "404"
    with pytest.raises(
        InferenceServerException, match=r'model "other": wanted shop, which is the only one here'
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
    """With the database gone nothing is answered, so both protocols tell whoever balances the load,
    and say why."""
    service.engine.dispose()
    shutil.move(tmp_path / "store", tmp_path / "away")
    assert service.client.post(URL, json={"inputs": GOOD}).status_code == 503
    for path in ("/v2/health/ready", "/v2/models/shop/ready"):
        answer = service.client.get(path)
        assert answer.status_code == 503
        assert "answers cannot be recorded: " in answer.json()["error"]
    assert service.client.get("/ping").status_code == 404
    assert service.client.get("/v2/health/live").status_code == 200


def tensor(
    name: str, data: Any, datatype: str = "FP64", shape: Any = (1,), **more: Any
) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data, **more}


GOOD = [
    tensor("monthly spend", [1]),
    tensor("visits", [2.5]),
    tensor("plan", ["gold"], "BYTES"),
    tensor("returning", [None], "BYTES"),
]
OTHERS = GOOD[:1] + GOOD[2:]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (GOOD[:2], "wanted every column of the model, got none named plan, returning"),
        (
            [*GOOD, tensor("zzz", [1])],
            'input "zzz": wanted monthly spend, visits, plan, returning, customer, numbers, texts, got a name',
        ),
        (
            [*OTHERS, tensor("visit", [1])],
            'input "visit": wanted visits, got a name that the model does not know',
        ),
        (
            [*GOOD, tensor("visits", [1])],
            'input "visits": wanted each column once, got visits twice',
        ),
        (
            [*GOOD, tensor("numbers", [1, 2], shape=[1, 2])],
            'input "numbers": wanted each column once, got monthly spend twice',
        ),
        (
            [*OTHERS, tensor("visits", [1, 2], shape=[2])],
            'input "visits": wanted shape [1] or [1, 1], got [2]',
        ),
        (
            [*OTHERS, tensor("visits", [1], shape=[])],
            'input "visits": wanted shape [1] or [1, 1], got []',
        ),
        (
            [tensor("numbers", [1, 2, 3], shape=[1, 3])],
            'input "numbers": wanted shape [n, 2], got [1, 3]',
        ),
        (
            [*OTHERS, tensor("visits", [1, 2])],
            'input "visits": wanted 1 values for the shape [1], got 2',
        ),
        (
            [*OTHERS, tensor("visits", [1], shape=["1"])],
            'input "visits", shape, 0: Input should be a valid integer, got "1"',
        ),
        (
            [*OTHERS, tensor("visits", ["x"])],
            'input "visits": wanted FP64 values, got "x" as value 0',
        ),
        (
            [*OTHERS, tensor("visits", [1.5], "INT64")],
            'input "visits": wanted INT64 values, got 1.5 as value 0',
        ),
        (
            [*OTHERS, tensor("visits", ["3"], "BYTES")],
            'input "visits": wanted numbers, such as FP64, got BYTES',
        ),
        (
            [*OTHERS, tensor("visits", [1], "FP65")],
            'input "visits": wanted one of the datatypes FP64',
        ),
        (
            [*OTHERS, tensor("visits", [1e39])],
            "visits, row 0: wanted a number up to 3.4e+38 or null, got 1e+39",
        ),
        (
            [*OTHERS, tensor("visits", [float("inf")])],
            "visits, row 0: wanted a number up to 3.4e+38 or null, got a number too large",
        ),
        (
            [*OTHERS, tensor("visits", None)],
            'input "visits": wanted either data or binary_data_size, got neither',
        ),
        (
            [*OTHERS, tensor("visits", None, parameters={"binary_data_size": 8})],
            'input "visits": wanted 8 bytes after the JSON, got 0',
        ),
        (
            [*OTHERS, tensor("visits", [1], parameters={"shared_memory_region": "r"})],
            'input "visits": wanted values in the request',
        ),
        (
            [tensor(one["name"], [], one["datatype"], [0]) for one in GOOD],
            "wanted at least one row, got none",
        ),
        ([], "inputs: List should have at least 1 item"),
        (
            ["x"],
            'inputs, 0: Input should be a valid dictionary or instance of InputTensor, got "x"',
        ),
    ],
)
def test_a_bad_tensor_is_refused_by_name(service: Service, inputs: list[Any], message: str) -> None:
    """400 with what was wanted and what came, and nothing is recorded."""
    answer = service.client.post(URL, content=json.dumps({"inputs": inputs}))
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert message in answer.json()["error"]
    assert len(service.records.read(service.use_case)) == 0


def post_bytes(
    client: TestClient, inputs: list[dict[str, Any]], behind: bytes, length: str | None = None
) -> Any:
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)) if length is None else length}
    return client.post(URL, content=head + behind, headers=headers)


def packed_tensor(name: str, datatype: str, size: int) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [1],
        "datatype": datatype,
        "parameters": {"binary_data_size": size},
    }


@pytest.mark.parametrize(
    ("inputs", "behind", "message"),
    [
        (
            [packed_tensor("visits", "FP64", 7)],
            b"\0" * 7,
            'input "visits": wanted 8 bytes per value, got 7 bytes in all',
        ),
        (
            [packed_tensor("visits", "FP64", 16)],
            b"\0" * 16,
            'input "visits": wanted 1 values for the shape [1], got 2',
        ),
        (
            [packed_tensor("visits", "FP64", 10**12)],
            b"\0" * 16,
            'input "visits": wanted 1000000000000 bytes after the JSON, got 16',
        ),
        (
            [packed_tensor("plan", "BYTES", 6)],
            b"\xff\0\0\0ab",
            'input "plan": wanted texts that each follow their length in four bytes',
        ),
        (
            [packed_tensor("plan", "BYTES", 2)],
            b"\1\0",
            'input "plan": wanted texts that each follow their length in four bytes',
        ),
        (
            [packed_tensor("plan", "BYTES", 5)],
            b"\1\0\0\0\xff",
            'input "plan": wanted texts in UTF-8',
        ),
        (
            [packed_tensor("visits", "FP64", 8)],
            b"\0" * 9,
            "wanted the bytes of the tensors after the JSON and no others, got 1 more",
        ),
    ],
)
def test_bytes_that_are_not_what_they_say_are_refused(
    service: Service, inputs: list[Any], behind: bytes, message: str
) -> None:
    """Sizes, lengths and encoding are held against the tensor that they belong to."""
    answer = post_bytes(service.client, inputs, behind)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "999999", "9" * 5_000, "²", ""])
def test_a_wrong_length_of_the_header_is_refused(service: Service, length: str) -> None:
    """What cannot be the length of the JSON is named as the header it came in."""
    answer = service.client.post(
        URL, content=b"{}", headers={"Inference-Header-Content-Length": length.encode("latin-1")}
    )
    assert answer.status_code == 400
    assert (
        "Inference-Header-Content-Length: wanted at most the body's 2 bytes"
        in answer.json()["error"]
    )


def test_what_is_not_offered_is_refused(
    service: Service, client: triton.InferenceServerClient
) -> None:
    """Compressed bodies, classification and unknown outputs are 400 with the reason, which the
    client shows."""
    inputs = make_inputs(ARRAYS, binary=True)
    with pytest.raises(
        InferenceServerException, match="wanted a body that is not compressed, got 'gzip'"
    ):
        client.infer("shop", inputs, request_compression_algorithm="gzip")
    with pytest.raises(
        InferenceServerException,
        match=r"output probabilities: .* got classification, which is not offered",
    ):
        client.infer(
            "shop", inputs, outputs=[triton.InferRequestedOutput("probabilities", class_count=2)]
        )
    with pytest.raises(
        InferenceServerException, match='output "zzz": wanted probabilities or prediction'
    ):
        client.infer("shop", inputs, outputs=[triton.InferRequestedOutput("zzz")])


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
    many = [tensor(one["name"], one["data"] * 5_001, one["datatype"], [5_001]) for one in GOOD]
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


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
ANY = st.recursive(
    SCALARS,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=9,
)
NAMES = (
    st.sampled_from(
        ["monthly spend", "visits", "plan", "returning", "customer", "numbers", "texts"]
    )
    | ANY
)
TENSOR = st.fixed_dictionaries(
    {"name": NAMES, "shape": st.lists(st.integers(0, 2), max_size=3) | ANY},
    optional={
        "datatype": st.sampled_from(["FP64", "FP16", "INT8", "BOOL", "BYTES"]) | ANY,
        "data": st.lists(SCALARS, max_size=3) | ANY,
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-1, 20) | ANY}
        )
        | ANY,
    },
)
BODIES = st.fixed_dictionaries(
    {
        "inputs": st.lists(TENSOR | ANY, max_size=5).map(lambda more: [*GOOD, *more])
        | st.lists(TENSOR)
        | ANY
    },
    optional={"outputs": ANY, "parameters": ANY, "id": ANY},
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES | ANY, behind=st.binary(max_size=20), length=st.none() | st.integers(-2, 60))
@example(body={"inputs": [tensor("visits", [1], shape=[10**30, 10**30])]}, behind=b"", length=None)
@example(
    body={"inputs": [tensor("numbers", [1], shape=[9 * 10**4_299, 2])]}, behind=b"", length=None
)
@example(body={"inputs": GOOD, "id": "\ud800"}, behind=b"", length=None)
@example(
    body={
        "inputs": GOOD,
        "outputs": [{"name": "prediction", "parameters": {"binary_data": True}}] * 2,
    },
    behind=b"",
    length=None,
)
def test_nothing_that_is_sent_makes_a_fault_of_ours(
    service: Service, body: Any, behind: bytes, length: int | None
) -> None:
    """Any JSON with any bytes behind it is answered or refused in the form of the protocol."""
    head = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    answer = service.client.post(URL, content=head + behind, headers=headers)
    assert answer.status_code in (200, 400), answer.text
    assert answer.status_code == 200 or answer.json()["error"]


def test_the_examples_of_the_documentation_are_accepted(service: Service) -> None:
    """The example of each infer route on the OpenAPI page is answered, and each status is
    documented."""
    paths = service.client.get("/openapi.json").json()["paths"]
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        page = paths[path]["post"]
        assert {"200", "400", "404", "413", "503"} == set(page["responses"])
        for one in page["requestBody"]["content"]["application/json"]["examples"].values():
            url = path.replace("{name}", "shop").replace("{version}", "1")
            assert service.client.post(url, json=one["value"]).status_code == 200
