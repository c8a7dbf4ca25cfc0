"""Requests of the Open Inference Protocol, and Triton's client connected to the service."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from tritonclient.utils import np_to_triton_dtype

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
