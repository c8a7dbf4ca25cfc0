"""Nothing that a client sends makes a 500."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.postgres import postgres, postgres_url  # noqa: F401

Service = Any  # tests/api/conftest.py
COLUMNS = [
    "monthly spend",
    "visits",
    "plan",
    "returning",
    "customer",
    "left",
    "rows",
    "labels",
    "id",
    "key",
    "label",
    "zzz",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
NAMES = st.sampled_from(COLUMNS) | st.text(max_size=5)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
ROW = st.fixed_dictionaries(
    {"monthly spend": SCALARS, "visits": SCALARS, "plan": SCALARS, "returning": SCALARS},
    optional={"customer": SCALARS, "zzz": SCALARS},
)
MOMENTS = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())
LABEL = st.fixed_dictionaries(
    {"label": SCALARS | st.sampled_from(["True", "False"])},
    optional={"id": SCALARS, "key": SCALARS, "at": SCALARS | MOMENTS},
)
BODIES = (
    ANY_JSON
    | ROW
    | st.fixed_dictionaries({"rows": st.lists(ROW, max_size=4)})
    | st.fixed_dictionaries({"labels": st.lists(LABEL, max_size=4)})
)


@pytest.fixture(params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, make_service: Callable[..., Service]
) -> Iterator[Service]:
    """On both databases: PostgreSQL refuses characters and sizes that SQLite takes."""
    made = make_service(
        None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    made.promote(1)
    yield made
    made.engine.dispose()


def refuse_500(service: Service, method: str, route: str, content: bytes) -> None:
    answer = service.client.request(
        method, route, content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 404, 405, 409, 413, 422), answer.text
    if answer.status_code == 422:
        assert all(fault["loc"][0] == "body" and fault["msg"] for fault in answer.json()["detail"])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES, route=st.sampled_from(["/predict", "/explain", "/labels"]))
@example(
    body={
        "rows": [
            {"monthly spend": 3.4e38, "visits": -3.4e38, "plan": "\0", "returning": "\U0010ffff"}
        ]
    },
    route="/predict",
)
@example(
    body={
        "rows": [
            {"monthly spend": 3.4e38, "visits": -3.4e38, "plan": "\0", "returning": "\U0010ffff"}
        ]
    },
    route="/explain",
)
@example(
    body={"rows": [{"monthly spend": 1e-320, "visits": -0.0, "plan": "", "returning": " " * 5000}]},
    route="/predict",
)
@example(
    body={
        "rows": [
            {
                "monthly spend": 1,
                "visits": 1,
                "plan": "x",
                "returning": "x",
                "customer": "\U0010ffff" * 500,
            }
        ]
    },
    route="/predict",
)
@example(
    body={"labels": [{"id": "\0", "label": "True"}, {"key": "\0", "label": "True"}]},
    route="/labels",
)
@example(body={"labels": [{"key": "c\U0010ffff", "label": "True"}]}, route="/labels")
@example(
    body={"labels": [{"key": "c", "at": "0001-01-01T00:00:00Z", "label": "True"}]}, route="/labels"
)
@example(
    body={"labels": [{"key": "c", "at": "9999-12-31T23:59:59.999999Z", "label": "True"}]},
    route="/labels",
)
@example(
    body={"labels": [{"key": "c", "at": "0001-01-01T00:00:00+01:00", "label": "True"}]},
    route="/labels",
)
def test_no_json_makes_a_500(service: Service, body: Any, route: str) -> None:
    """Whatever JSON is sent, the answer is an answer or a refusal that names a field, never a fault
    of ours."""
    refuse_500(service, "POST", route, json.dumps(body).encode())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(max_size=200),
    route=st.sampled_from(
        [
            "/predict",
            "/explain",
            "/labels",
            "/health",
            "/ready",
            "/model",
            "/metrics",
            "/openapi.json",
            "/docs",
            "/nothing",
        ]
    ),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
)
def test_no_bytes_on_any_route_make_a_500(
    service: Service, content: bytes, route: str, method: str
) -> None:
    """Any bytes, by any method, on any route are answered or refused."""
    refuse_500(service, method, route, content)
