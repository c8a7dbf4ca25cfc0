"""schemathesis asks what the OpenAPI page allows and what it forbids: every answer is documented
there, and none is a fault of ours.

HYPOTHESIS_PROFILE=searching asks some thousands of times for each route.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

Service = Any  # tests/api/conftest.py
PATHS = [
    "/predict",
    "/explain",
    "/labels",
    "/health",
    "/ready",
    "/model",
    "/metrics",
    "/invocations",
    "/ping",
    "/version",
    "/v2",
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize("path", PATHS)
def test_any_request_has_a_documented_answer(
    make_service: Callable[..., Service], path: str
) -> None:
    """No answer has an undocumented status, type or form, and none says that something of ours went
    wrong."""
    service = make_service()
    service.promote(1)
    schema = schemathesis.openapi.from_asgi("/openapi.json", service.app).include(
        path_regex=f"^{path}(/|$)"
    )
    found = [operation.ok() for operation in schema.get_all_operations()]
    assert found, f"no route of the page begins with {path}"
    # What takes no body cannot be asked wrongly.
    ways = [
        (operation, mode)
        for operation, mode in product(found, GenerationMode)
        if operation.body or mode is GenerationMode.POSITIVE
    ]
    for operation, mode in ways:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(suppress_health_check=list(HealthCheck), deadline=None)
        def ask(case: Case) -> None:
            answer = case.call()
            case.validate_response(
                answer,
                checks=[
                    check
                    for check in CHECKS
                    if check is not not_a_server_error or answer.status_code != 503
                ],
            )
            assert b"error_id" not in answer.content

        ask()
