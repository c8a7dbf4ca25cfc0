"""Who may ask the service."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from api.guard.keys import Keys, is_loopback, open_keys
from api.guard.limits import OPEN_PATHS
from closedloop.errors import ClosedLoopError
from closedloop.operations.access.foreign import OwnHosts
from closedloop.operations.api_keys import add_key, remove_key

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "api_keys.json"


def ask(service: Service, **headers: str) -> int:
    status: int = service.client.post(
        "/predict",
        json=ROW,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    ).status_code
    return status


def test_every_route_but_two_wants_a_key(make_service: Callable[..., Service], path: Path) -> None:
    """Without a key each route, also one that does not exist, is a 401 that says how to send one;
    health and readiness are answered."""
    key = add_key(path, "shop")
    service = make_service(keys=Keys(path, needed=False))
    service.promote(1)
    routes = [
        ("POST", "/predict"),
        ("POST", "/explain"),
        ("POST", "/labels"),
        *(("GET", route) for route in ("/model", "/metrics", "/openapi.json", "/docs", "/no")),
    ]
    for method, route in routes:
        answer = service.client.request(method, route, content=b"{}")
        assert answer.status_code == 401, route
        assert answer.headers["www-authenticate"] == 'Bearer realm="closedloop"'
        assert "Authorization: Bearer KEY" in answer.json()["detail"]
        assert (
            service.client.request(
                method, route, content=b"{}", headers={"X-API-Key": key}
            ).status_code
            != 401
        ), route
    assert [service.client.get(route).status_code for route in ("/health", "/ready")] == [200, 200]
    lines = service.client.get("/metrics", headers={"X-API-Key": key}).text
    assert 'closedloop_requests_total{route="/labels",status="401",use_case="shop"} 1.0' in lines
    assert 'closedloop_requests_total{route="unmatched",status="401",use_case="shop"} 1.0' in lines


def test_the_state_names_no_host_without_a_key(
    make_service: Callable[..., Service], path: Path
) -> None:
    """Probes need no key, and get no text of an error: it may tell hosts, paths and drivers."""
    key = add_key(path, "shop")
    service = make_service(keys=Keys(path, needed=False))
    service.versions.unreachable = ConnectionError("mlflow.internal:5000 refused")
    service.follow()
    states = ("/ready", "/v2/health/ready", "/ping")
    plain = [service.client.get(state).text for state in states]
    assert "unreachable" in plain[0]
    assert "mlflow.internal" not in "".join(plain)
    told = [service.client.get(state, headers={"X-API-Key": key}).text for state in states]
    assert "mlflow.internal" in told[0]
    assert "mlflow.internal" in told[1]


def test_a_key_is_taken_in_both_headers(make_service: Callable[..., Service], path: Path) -> None:
    """As a bearer token, in any spelling of the word, or as X-API-Key; what resembles a key is a
    401 that says it is not taken."""
    key = add_key(path, "shop")
    service = make_service(keys=Keys(path, needed=True))
    service.promote(1)
    for good in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer  {key}"},
        {"X_API_Key": key},
        {"Authorization": "Basic eDp5", "X_API_Key": key},
    ):
        assert [ask(service, **good), ask(service, **good)] == [200, 200]
    for bad in (
        key[:-1],
        key + "x",
        key.lower(),
        "",
        path.read_text().split('"sha256": "')[1][:64],
    ):
        answer = service.client.get("/model", headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert ask(service, Authorization=key) == 401
    assert ask(service, Authorization="Bearer") == 401


def test_a_running_service_notices_keys_that_come_and_go(
    make_service: Callable[..., Service], path: Path
) -> None:
    """Open without a key, closed from the first one on; two are good at once, so that one can take
    the place of the other; a removed key that was used before is refused, and when the last is gone
    nobody is let in."""
    clock = Clock()
    service = make_service(keys=Keys(path, needed=False, now=clock))
    service.promote(1)
    assert ask(service) == 200
    old = add_key(path, "old")
    assert ask(service) == 200  # not looked at more than once a second
    clock.seconds += 1
    assert [ask(service), ask(service, X_API_Key=old)] == [401, 200]
    new = add_key(path, "new")
    clock.seconds += 1
    assert [ask(service, X_API_Key=old), ask(service, X_API_Key=new)] == [200, 200]
    remove_key(path, "old")
    clock.seconds += 1
    assert [ask(service, X_API_Key=old), ask(service, X_API_Key=new)] == [401, 200]
    path.unlink()
    clock.seconds += 1
    assert [ask(service), ask(service, X_API_Key=new)] == [401, 401]


def test_a_damaged_file_changes_nothing_while_the_service_runs(
    make_service: Callable[..., Service], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a file neither opens the service nor locks out those who have a key; the log says it,
    once."""
    key, clock = add_key(path, "shop"), Clock()
    service = make_service(keys=Keys(path, needed=True, now=clock))
    service.promote(1)
    whole = path.read_text()
    path.write_text(whole[:30])
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            clock.seconds += 1
            assert [ask(service), ask(service, X_API_Key=key)] == [401, 200]
    assert caplog.text.count("the API keys stay as they are") == 1
    with pytest.raises(ClosedLoopError, match="repair or delete it"):
        Keys(path, needed=True)


def test_without_a_key_only_this_machine_is_served(path: Path) -> None:
    """On loopback keys are off while there is none; anywhere else that is refused with the command
    that makes one; with a key they are wanted everywhere."""
    assert open_keys(path, "127.0.0.1").wanted is False
    with pytest.raises(ClosedLoopError, match="closedloop key add NAME"):
        open_keys(path, "0.0.0.0")
    add_key(path, "shop")
    assert [open_keys(path, host).wanted for host in ("127.0.0.1", "0.0.0.0")] == [True, True]


def test_the_environment_can_name_a_key(make_service: Callable[..., Service], path: Path) -> None:
    """It is wanted and taken like those of the file, beside them, and stays when the file changes;
    without a file it is enough to listen for others."""
    clock, given = Clock(), SecretStr("a key of the environment")
    assert len(open_keys(path, "0.0.0.0", given)) == 1
    service = make_service(keys=Keys(path, needed=False, given=given.get_secret_value(), now=clock))
    service.promote(1)
    assert [
        ask(service),
        ask(service, X_API_Key="another key"),
        ask(service, X_API_Key=given.get_secret_value()),
    ] == [401, 401, 200]
    added = add_key(path, "shop")
    clock.seconds += 1
    assert [ask(service, X_API_Key=key) for key in (added, given.get_secret_value())] == [200, 200]
    remove_key(path, "shop")
    clock.seconds += 1
    assert [ask(service, X_API_Key=key) for key in (added, given.get_secret_value())] == [401, 200]


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("localhost.example.org", False),
    ],
)
def test_what_others_cannot_reach(host: str, alone: bool) -> None:
    """Loopback addresses and localhost; whatever is not surely one of them is taken to be open."""
    assert is_loopback(host) is alone


def test_keys_are_documented_while_they_are_wanted(
    make_service: Callable[..., Service], path: Path
) -> None:
    """OpenAPI names both headers and the 401 for every route that wants a key, from the moment it
    is wanted."""
    clock = Clock()
    service = make_service(keys=Keys(path, needed=False, now=clock))
    page = service.client.get("/openapi.json").json()
    assert "securitySchemes" not in page["components"]
    assert "security" not in page["paths"]["/predict"]["post"]
    key = add_key(path, "shop")
    clock.seconds += 1
    page = service.client.get("/openapi.json", headers={"X-API-Key": key}).json()
    assert {scheme["type"] for scheme in page["components"]["securitySchemes"].values()} == {
        "http",
        "apiKey",
    }
    for route, operations in page["paths"].items():
        for operation in operations.values():
            assert (
                ("401" in operation["responses"])
                is ("security" in operation)
                is (route not in OPEN_PATHS)
            )


FOREIGN = [
    ({"Host": "evil.example:8080"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Content-Type": "text/plain"}, 415),
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
def test_without_a_key_no_foreign_page_is_answered(
    make_service: Callable[..., Service], path: Path, headers: dict[str, str], status: int
) -> None:
    """On the fast path and on every other route, also those that are open whatever the keys; and it
    is counted. Once a key is wanted it is proof enough: a service behind a proxy has many names."""
    service = make_service(keys=Keys(path, needed=False), hosts=OwnHosts("127.0.0.1"))
    service.promote(1)
    assert ask(service) == 200
    routes = [("POST", "/predict"), ("POST", "/labels"), ("POST", "/invocations")]
    if status == 403:
        routes += [("GET", route) for route in ("/docs", "/model", "/health", "/ready", "/no")]
    for method, route in routes:
        answer = service.client.request(method, route, content=b"{}", headers=headers)
        assert answer.status_code == status, route
    lines = service.client.get("/metrics").text
    assert (
        f'closedloop_requests_total{{route="/predict",status="{status}",use_case="shop"}} 1.0'
        in lines
    )
    key = add_key(path, "shop")
    keyed = make_service(keys=Keys(path, needed=False), hosts=OwnHosts("127.0.0.1"))
    keyed.promote(1)
    assert ask(keyed, X_API_Key=key, **headers) == 200
