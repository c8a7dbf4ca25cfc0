"""What the holder of a key may do, by its role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from api.guard.keys import Keys
from api.guard.limits import KEY
from closedloop.operations.api_keys import Role, add_key, remove_key
from tests.api.test_keys import Clock, ask

Service = Any  # tests/api/conftest.py


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "api_keys.json"


def test_a_viewer_reads_and_changes_nothing(
    make_service: Callable[..., Service], path: Path
) -> None:
    """Clients and operators may ask; a viewer reads which model answers, metrics and documents, but
    gets a 403 with what to do wherever rows or labels are sent, on a path that is not there, too.
    """
    client, viewer, operator = (add_key(path, role, role) for role in Role)
    service = make_service(keys=Keys(path, needed=False))
    service.promote(1)
    assert [ask(service, X_API_Key=key) for key in (client, viewer, operator)] == [200, 403, 200]
    for route in ("/explain", "/labels", "/invocations", "/v2/models/shop/infer", "/no"):
        answer = service.client.post(route, content=b"{}", headers={"X-API-Key": viewer})
        assert answer.status_code == 403, route
        assert all(
            words in answer.json()["detail"]
            for words in (route, "client or operator", "viewer", "closedloop key add NAME")
        )
        for key in (client, operator):
            answer = service.client.post(route, content=b"{}", headers={"X-API-Key": key})
            assert answer.status_code not in (401, 403), route
    for route in ("/model", "/metrics", "/docs", "/openapi.json", "/health", "/ready"):
        assert service.client.get(route, headers={"X-API-Key": viewer}).status_code == 200, route
    lines = service.client.get("/metrics", headers={"X-API-Key": viewer}).text
    assert 'closedloop_requests_total{route="/predict",status="403",use_case="shop"} 1.0' in lines


def test_a_request_carries_who_asks(make_service: Callable[..., Service], path: Path) -> None:
    """Every route finds the key of its request in the scope, and None while none is wanted; a key
    that is added again with another role is known by that one within a second."""
    seen: list[Any] = []
    clock = Clock()
    service = make_service(keys=Keys(path, needed=False, given="of the environment", now=clock))

    @service.app.get("/who")
    async def who(request: Request) -> None:
        seen.append(request.scope[KEY])

    def ask_who(key: str) -> None:
        service.client.get("/who", headers={"X-API-Key": key})

    ask_who("of the environment")
    ask_who(add_key(path, "anna", Role.VIEWER))
    clock.seconds += 1
    ask_who(add_key(path, "wall", Role.VIEWER))
    remove_key(path, "wall")
    clock.seconds += 1
    ask_who(add_key(path, "wall", Role.OPERATOR))
    assert [(key.name, key.role) for key in seen] == [
        ("the environment", Role.CLIENT),
        ("wall", Role.VIEWER),
        ("wall", Role.OPERATOR),
    ]
    open_to_all = make_service(keys=Keys(path.with_name("none.json"), needed=False))
    open_to_all.app.get("/who")(who)
    open_to_all.client.get("/who")
    assert seen[-1] is None
