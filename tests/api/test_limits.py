"""What one request, and all of them together, may ask of the service."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from api.guard.limits import Guard, RequestLimits
from api.refusal import Refusal
from tests.api.test_under_load import serve
from tests.waiting import until

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
BODY = json.dumps(ROW).encode()


def is_answered(url: str) -> bool:
    return httpx.post(f"{url}/predict", json=ROW, timeout=60).status_code == 200


def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_not(
    make_service: Callable[..., Service],
) -> None:
    """At the limit a request is answered; beyond it a 413 names both sizes, for every route, and is
    counted under its route."""
    service = make_service(limits=RequestLimits(max_body_bytes=len(BODY)))
    service.promote(1)
    assert service.client.post("/predict", content=BODY).status_code == 200
    for path in ("/predict", "/explain", "/labels"):
        answer = service.client.post(path, content=BODY + b" ")
        assert answer.status_code == 413
        assert answer.json() == {
            "detail": f"wanted a body of at most {len(BODY)} bytes, "
            f"got {len(BODY) + 1} bytes: split it"
        }
        assert service.metric(f'closedloop_requests_total{{route="{path}",status="413"}}') == 1


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    """The refusal comes from the header alone: neither the app nor the body is touched."""

    async def never(*_: Any) -> Any:
        pytest.fail("it was asked")

    headers = [(b"content-length", b"11")]
    with pytest.raises(Refusal, match="413"):
        asyncio.run(
            Guard(RequestLimits(max_body_bytes=10), None).pass_to(
                never, {"path": "/x", "headers": headers}, never, never
            )
        )


@pytest.mark.parametrize("path", ["/predict", "/explain", "/labels"])
def test_a_body_without_end_is_stopped(make_service: Callable[..., Service], path: str) -> None:
    """A client that sends and sends without saying how much gets its 413 and a closed connection
    after little more than the limit."""
    service = make_service(limits=RequestLimits(max_body_bytes=100_000))
    service.promote(1)
    sent = 0

    def send() -> Iterator[bytes]:
        nonlocal sent
        while sent < 500_000_000:
            sent += 10_000
            yield bytes(10_000)

    with serve(service.app) as url:
        answer = httpx.post(f"{url}{path}", content=send(), timeout=60)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert "at most 100000 bytes" in answer.json()["detail"]
    assert sent < 50_000_000  # what the system itself holds for a connection is some megabytes


def test_a_chunked_body_within_the_limit_is_answered(service: Service) -> None:
    """Not saying the size is no fault."""
    assert service.client.post("/predict", content=iter([BODY[:9], BODY[9:]])).status_code == 200


def test_more_requests_than_the_bound_are_refused_at_once(
    make_service: Callable[..., Service],
) -> None:
    """While two requests wait for their record and two is the most, the third is a 503 that says
    when to retry, on every route except those for monitoring; both are answered in the
    end, and then there is room again."""
    service = make_service(limits=RequestLimits(max_waiting_requests=2))
    service.promote(1)
    service.predict()
    with serve(service.app) as url, ThreadPoolExecutor(2) as pool:
        with (
            service.engine.begin()
        ):  # holds the database: nothing is committed, so nobody is answered
            clients = [
                pool.submit(httpx.post, f"{url}/predict", json=ROW, timeout=60) for _ in range(2)
            ]
            until(
                lambda: service.metric("closedloop_records_waiting") == 2, "two requests under way"
            )
            for path in ("/predict", "/explain", "/labels"):
                answer = httpx.post(f"{url}{path}", json=ROW, timeout=60)
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert (
                    answer.json()["detail"] == "2 requests are open, the maximum: retry in a moment"
                )
                assert (
                    service.metric(f'closedloop_requests_total{{route="{path}",status="503"}}') == 1
                )
            assert [
                httpx.get(f"{url}{path}").status_code for path in ("/health", "/ready", "/metrics")
            ] == [200] * 3
            assert not any(client.done() for client in clients)
        assert [client.result(60).status_code for client in clients] == [200, 200]
        assert is_answered(url)


def test_a_request_out_of_time_is_answered_and_keeps_its_place_until_it_ends(
    make_service: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    """With the database held, a request gets its 503 after its seconds and not later; its work is
    under way still and counts as such; when it ends there is room again, what was accepted is on
    record, and nobody is answered twice."""
    service = make_service(limits=RequestLimits(max_waiting_requests=1, request_seconds=0.2))
    service.promote(1)
    service.predict()
    with serve(service.app) as url:
        with service.engine.begin(), httpx.Client(base_url=url, timeout=60) as client:
            answer = client.post("/predict", json=ROW)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["detail"] == "no answer within 0.2 s: retry in a moment"
            assert service.metric('closedloop_requests_total{route="/predict",status="503"}') == 1
            assert (
                "are open" in client.post("/predict", json=ROW).json()["detail"]
            )  # on the same connection, which is still good
        until(lambda: is_answered(url), "room for another request")
    answered = service.metric('closedloop_requests_total{route="/predict",status="200"}')
    assert service.records.count("shop").predictions == answered + 1
    assert "ERROR" not in [record.levelname for record in caplog.records]


def test_a_body_that_comes_too_slowly_costs_no_place(make_service: Callable[..., Service]) -> None:
    """A client that sends half of its body gets a 503 after its seconds, and frees its place."""
    service = make_service(limits=RequestLimits(max_waiting_requests=1, request_seconds=0.2))
    service.promote(1)
    with serve(service.app) as url:
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            assert slow.recv(1000).startswith(b"HTTP/1.1 503")
            until(lambda: is_answered(url), "room for another request")


def test_a_client_that_does_not_read_costs_no_place() -> None:
    """An answer that cannot be delivered is dropped when the time is over: the request ends and its
    place is free."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never_read(_message: Any) -> None:
        await asyncio.Event().wait()

    async def receive() -> Any:
        return {"type": "http.request"}

    async def ask() -> int:
        guard = Guard(RequestLimits(request_seconds=0.05), None)
        await asyncio.wait_for(
            guard.pass_to(app, {"path": "/x", "headers": []}, receive, never_read), 30
        )
        return guard.open_requests

    assert asyncio.run(ask()) == 0


def test_the_limits_are_documented(service: Service) -> None:
    """Every route that may answer so says 413 and 503 with Retry-After in OpenAPI; the routes that
    are always answered do not."""
    paths = service.client.get("/openapi.json").json()["paths"]
    for path, method in (("/predict", "post"), ("/labels", "post"), ("/model", "get")):
        answers = paths[path][method]["responses"]
        assert "Retry-After" in answers["503"]["headers"]
        assert ("413" in answers) is (method == "post")
    assert "503" not in {
        **paths["/health"]["get"]["responses"],
        **paths["/metrics"]["get"]["responses"],
    }
