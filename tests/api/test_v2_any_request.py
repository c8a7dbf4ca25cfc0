"""The Open Inference Protocol: any body, and the documented examples."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.v2_requests import GOOD, URL, tensor

Service = Any  # tests/api/conftest.py
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
ANY = st.recursive(
    SCALARS,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
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
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
        assert {"200", "400", "404", "413", "415", "503"} == set(page["responses"])
        for shown in page["requestBody"]["content"]["application/json"]["examples"].values():
            url = path.replace("{name}", "shop").replace("{version}", "1")
            assert service.client.post(url, json=shown["value"]).status_code == 200
