"""The Open Inference Protocol: what it refuses, each fault by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from tritonclient.utils import InferenceServerException

from tests.api.v2_requests import ARRAYS, GOOD, URL, client, make_inputs, tensor  # noqa: F401

Service = Any  # tests/api/conftest.py
OTHERS = GOOD[:1] + GOOD[2:]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (GOOD[:2], "wanted every column of the model, got none named plan, returning"),
        (
            [*GOOD, tensor("zzz", [1])],
            'input "zzz": wanted monthly spend, visits, plan, returning, customer, numbers, texts, '
            "got a name unknown to the model",
        ),
        (
            [*OTHERS, tensor("visit", [1])],
            'input "visit": wanted visits, got a name unknown to the model',
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
            [tensor(good["name"], [], good["datatype"], [0]) for good in GOOD],
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
            'input "plan": wanted texts, each after its length in four bytes',
        ),
        (
            [packed_tensor("plan", "BYTES", 2)],
            b"\1\0",
            'input "plan": wanted texts, each after its length in four bytes',
        ),
        (
            [packed_tensor("plan", "BYTES", 5)],
            b"\1\0\0\0\xff",
            'input "plan": wanted texts in UTF-8',
        ),
        (
            [packed_tensor("visits", "FP64", 8)],
            b"\0" * 9,
            "wanted only the bytes of the tensors after the JSON, got 1 more",
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
        "Inference-Header-Content-Length: wanted at most the 2 bytes of the body"
        in answer.json()["error"]
    )


def test_what_is_not_offered_is_refused(
    service: Service, client: triton.InferenceServerClient
) -> None:
    """Classification and unknown outputs are 400 with the reason, which the client shows."""
    inputs = make_inputs(ARRAYS, binary=True)
    with pytest.raises(
        InferenceServerException,
        match=r"output probabilities: .* got classification, which is not supported",
    ):
        client.infer(
            "shop", inputs, outputs=[triton.InferRequestedOutput("probabilities", class_count=2)]
        )
    with pytest.raises(
        InferenceServerException, match='output "zzz": wanted probabilities or prediction'
    ):
        client.infer("shop", inputs, outputs=[triton.InferRequestedOutput("zzz")])
