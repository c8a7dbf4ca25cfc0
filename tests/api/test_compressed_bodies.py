"""Compressed bodies are read within the limit of bytes, or refused by name."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from api.guard.limits import RequestLimits
from tests.api.v2_requests import ARRAYS, GOOD, URL, client, make_inputs  # noqa: F401

Service = Any  # tests/api/conftest.py
ROW = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": "True"}
BODIES = {
    "/predict": {"rows": [{**ROW, "customer": "c1"}]},
    "/explain": ROW,
    "/invocations": {"dataframe_records": [ROW]},
    URL: {"inputs": GOOD},
    "/labels": {"labels": [{"key": "c1", "label": "True"}]},
}
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "": bytes,
}


def send(service: Service, path: str, body: bytes, encoding: str) -> Any:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    return service.client.post(path, content=body, headers=headers)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_compressed_bodies_are_read(service: Service, encoding: str) -> None:
    """Every route that takes a body takes it compressed, as those of many clients are."""
    service.predict({**ROW, "customer": "c1"})
    for path, content in BODIES.items():
        body = json.dumps(content).encode()
        plain = service.client.post(
            path, content=body, headers={"content-type": "application/json"}
        )
        packed = send(service, path, ENCODERS[encoding](body), encoding)
        assert (plain.status_code, packed.status_code) == (200, 200), packed.text
        if path == "/predict":
            pairs = [answer.json()["predictions"][0]["probabilities"] for answer in (plain, packed)]
            assert pairs[0] == pairs[1]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_other_encodings_are_refused_by_name(service: Service, path: str, encoding: str) -> None:
    """415 in the words of each protocol, and the encodings that are read in a header."""
    answer = send(service, path, b"\x28\xb5\x2f\xfd", encoding)
    assert answer.status_code == 415
    said = answer.json()
    assert (
        said.get("detail") or said.get("message") or said.get("error")
    ) == f"Content-Encoding: wanted gzip, deflate or an uncompressed body, got {encoding!r}"
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_unpacks_to_too_much_is_refused(
    make_service: Callable[..., Service], path: str
) -> None:
    """A small body that would become a large one is unpacked no further than the limit."""
    service = make_service(limits=RequestLimits(max_body_bytes=100_000))
    service.promote(1)
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    answer = send(service, path, bomb, "gzip")
    assert answer.status_code == 413
    assert "wanted a body of at most 100000 bytes unpacked, got more" in answer.text
    whole = json.dumps(BODIES[path]).encode()
    fitting = gzip.compress(whole + b" " * (100_000 - len(whole)))
    assert send(service, path, fitting, "gzip").status_code in (200, 404)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda body: body[:-9], "it ends too early"),
        (lambda body: body + b"more", "4 bytes follow its end"),
        (lambda body: body + body, "follow its end"),
        (lambda body: json.dumps(ROW).encode(), "incorrect header check"),
        (lambda body: b"", "it ends too early"),
    ],
)
def test_a_damaged_body_is_refused_with_the_cause(
    service: Service, spoil: Callable[[bytes], bytes], said: str
) -> None:
    """A 400 that says that the compressed body is what cannot be read."""
    body = spoil(gzip.compress(json.dumps(ROW).encode()))
    answer = send(service, "/predict", body, "gzip")
    assert answer.status_code == 400
    assert "wanted a whole body in gzip, got a damaged one" in answer.json()["detail"]
    assert said in answer.json()["detail"]


def test_a_compressed_body_in_pieces_is_read(service: Service) -> None:
    """Sent in chunks without a length, it is put together first."""
    body = gzip.compress(json.dumps({"rows": [ROW] * 50}).encode())
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    answer = service.client.post("/predict", content=pieces, headers={"content-encoding": "gzip"})
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 50


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritons_client_may_compress(
    client: triton.InferenceServerClient,
    algorithm: str,
) -> None:
    """Bytes after the JSON are found in the unpacked body."""
    inputs = make_inputs(ARRAYS, binary=True)
    plain = client.infer("shop", inputs).as_numpy("probabilities")
    packed = client.infer("shop", inputs, request_compression_algorithm=algorithm)
    np.testing.assert_array_equal(packed.as_numpy("probabilities"), plain)
