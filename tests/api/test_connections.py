"""What a connection may take before it has made a request, without a key: bytes, time, a place."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from api.guard.connections import allowed_connections
from api.guard.limits import RequestLimits
from tests.api.raw_connections import FAR_TOO_MUCH, connect, read_all, send_on_and_on
from tests.api.test_under_load import serve
from tests.waiting import until

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
BODY = json.dumps(ROW).encode()
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
SHORT = {"header_seconds": 0.3, "stall_seconds": 0.3}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.app._REFRESH_SECONDS", 0.05)


def is_answered(url: str) -> bool:
    return httpx.post(f"{url}/predict", json=ROW, timeout=60).status_code == 200


def closed(service: Service, reason: str) -> float | None:
    name = f'closedloop_connections_closed_total{{reason="{reason}"}}'
    found: float | None = service.metric(name)
    return found


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (HEAD + b"x: ", b"a" * 10_000),
        (b"GET /", b"a" * 10_000),
        (HEAD, b"a: b\r\n" * 1_000),
        (b"", b"\r\n" * 1_000),
        (CHUNKED + b"5;", b"a" * 10_000),
        (CHUNKED, b"1\r\nx\r\n" * 1_000),
        (CHUNKED + b"0\r\n", b"a: b\r\n" * 1_000),
        (CHUNKED + b"0\r\nx: ", b"a" * 10_000),
    ],
    ids=[
        "header",
        "path",
        "headers",
        "blank lines",
        "chunk extension",
        "tiny chunks",
        "trailers",
        "trailer",
    ],
)
def test_a_header_without_end_is_cut_off(
    make_service: Callable[..., Service], start: bytes, block: bytes
) -> None:
    """One endless header, thousands of short ones, and whatever else is no body: the connection
    ends after little more than the limit, is counted, and others are answered."""
    service = make_service()
    service.promote(1)
    with serve(service.app) as url, connect(url) as connection:
        assert send_on_and_on(connection, start, block) < FAR_TOO_MUCH / 2
        assert is_answered(url)
        assert closed(service, "header_size") == 1


def test_the_largest_header_is_read_and_one_byte_more_is_not(
    make_service: Callable[..., Service],
) -> None:
    """Names, values and path count, also where all comes in one piece with the body; more is a 431
    that says what was wanted."""
    service = make_service(limits=RequestLimits(max_header_bytes=2_000))
    service.promote(1)
    with serve(service.app) as url:
        for more, status in ((0, 200), (1, 431)):
            said = {"host": "x", "connection": "close", "content-length": "9000", "y": ""}
            size = len("/predict") + sum(len(name) + len(value) for name, value in said.items())
            said["y"] = "y" * (2_000 - size + more)
            lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
            with connect(url) as connection:
                connection.sendall(f"POST /predict HTTP/1.1\r\n{lines}\r\n".encode())
                connection.sendall(BODY.ljust(9_000))
                answer = read_all(connection)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b'{"detail": "wanted a header of at most 2000 bytes, got more"}' in answer
        assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("sent", "answer", "reason"),
    [
        (b"", b"", "header_time"),
        (b"\r\n", b"HTTP/1.1 408", "header_time"),
        (HEAD + b"x: ", b"HTTP/1.1 408", "header_time"),
        (HEAD + b"content-length: 9\r\n\r\n{", b"HTTP/1.1 408", "body_time"),
        (CHUNKED + b"5\r\nhe", b"HTTP/1.1 408", "body_time"),
        (
            HEAD + b"expect: 100-continue\r\ncontent-length: 9\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408",
            "body_time",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 400", "not_http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 400", "not_http"),
        (b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 400", "not_http"),
    ],
)
def test_what_never_becomes_a_request_ends(
    make_service: Callable[..., Service], sent: bytes, answer: bytes, reason: str
) -> None:
    """Silence, half a header, half a body, one that was announced only, other protocols: the
    connection ends soon, is told why where it began to ask, and is counted."""
    service = make_service(limits=RequestLimits(**SHORT))
    service.promote(1)
    with serve(service.app) as url, connect(url) as connection:
        connection.sendall(sent)
        received = read_all(connection)
        assert received.startswith(answer)
        assert bool(received) == bool(answer)
        assert closed(service, reason) == 1
        until(lambda: service.metric("closedloop_connections") == 0, "no connection")


@pytest.mark.parametrize("start", [HEAD, b"\r\n", HEAD + b"content-length: 100000\r\n\r\n"])
def test_who_sends_byte_by_byte_ends(make_service: Callable[..., Service], start: bytes) -> None:
    """A header must be whole in time however often a byte of it comes, and so must a body."""
    service = make_service(
        limits=RequestLimits(request_seconds=0.5, **{**SHORT, "stall_seconds": 60})
    )
    service.promote(1)
    with serve(service.app) as url, connect(url) as connection:
        connection.sendall(start)
        connection.settimeout(0.02)
        received = b""

        def is_over() -> bool:
            nonlocal received
            try:
                connection.sendall(b"a" if start != b"\r\n" else b"\r")
                part = connection.recv(100_000)
            except TimeoutError:
                return False
            except OSError:
                return True
            received += part
            return not part

        until(is_over, "its end")
        assert received.startswith((b"HTTP/1.1 408", b"HTTP/1.1 503"))


def test_a_slow_body_that_keeps_coming_is_read(make_service: Callable[..., Service]) -> None:
    """Neither limit hits who is slow but in time."""
    service = make_service(limits=RequestLimits(**{**SHORT, "stall_seconds": 1}))
    service.promote(1)
    with serve(service.app) as url, connect(url) as connection:
        head = HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY)
        connection.sendall(head)
        connection.settimeout(0.01)
        for byte in BODY[:-1]:
            connection.sendall(bytes([byte]))
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(60)
        connection.sendall(BODY[-1:])
        assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("parts", [1, 200])
def test_an_answer_that_nobody_reads_is_dropped(
    make_service: Callable[..., Service], parts: int
) -> None:
    """A client that never reads loses its connection, whether its answer is whole or more of it is
    to come, also on a path that takes no place in the queue."""
    service = make_service(limits=RequestLimits(**SHORT))

    async def answer_much(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in range(1, parts + 1):
            body = bytes(20_000_000 // parts)
            await send({"type": "http.response.body", "body": body, "more_body": part < parts})

    service.app.add_fast_path("/ping", answer_much)
    with serve(service.app) as url, connect(url) as connection:
        connection.sendall(b"POST /ping HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        until(lambda: closed(service, "answer_time") == 1, "the end of its connection")
        until(lambda: service.metric("closedloop_connections") == 0, "no connection")


def test_requests_by_the_thousand_on_one_connection_are_not_collected(
    make_service: Callable[..., Service],
) -> None:
    """Of requests that do not wait for an answer, the first are answered in order, then the
    connection ends; few of them are ordinary."""
    service = make_service()
    service.promote(1)
    ask = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    with serve(service.app) as url:
        with connect(url) as connection:
            connection.sendall(ask * 3_000)
            answers = read_all(connection)
        assert 2 <= answers.count(b"HTTP/1.1 200 OK") <= 40
        assert closed(service, "pipelined") == 1
        with connect(url) as connection:
            connection.sendall(ask * 9 + ask.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            assert read_all(connection).count(b"HTTP/1.1 200 OK") == 10


def test_whoever_opens_many_connections_locks_nobody_out(
    make_service: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    """Above the limit the connection that is idle the longest makes room, however it is idle; the
    log says so once, and not for each."""
    service = make_service(limits=RequestLimits(max_connections=20))
    service.promote(1)
    with serve(service.app) as url, ExitStack() as stack:
        used = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        for number in range(100):
            idle = stack.enter_context(connect(url))
            idle.sendall(HEAD if number % 2 else b"")
            if number % 10 == 0:
                assert used.post("/predict", json=ROW).status_code == 200
        assert is_answered(url)
        until(lambda: (service.metric("closedloop_connections") or 99) <= 20, "at most 20 open")
        assert (closed(service, "idle") or 0) >= 80
        told = [line for line in caplog.messages if "idle the longest" in line]
        assert len(told) == 1
        assert closed(service, "full") == 0


def test_a_connection_more_than_can_be_answered_gets_a_503(
    make_service: Callable[..., Service],
) -> None:
    """When every connection waits for its answer none of them is closed: the new one is told to
    come back."""
    service = make_service(limits=RequestLimits(max_connections=2))
    service.promote(1)
    with serve(service.app) as url, connect(url) as first, connect(url) as second:
        said = b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY)
        for busy in (first, second):
            busy.sendall(HEAD + said)
            assert busy.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        with connect(url) as third:
            received = read_all(third)
        assert received.startswith(b"HTTP/1.1 503")
        assert b"all connections are in use: retry in a moment" in received
        for busy in (first, second):
            busy.sendall(BODY)
            assert busy.recv(100_000).startswith(b"HTTP/1.1 200")
        assert is_answered(url)
        assert closed(service, "full") == 1


@pytest.mark.parametrize(
    ("descriptors", "allowed"),
    [(resource.RLIM_INFINITY, 1_000), (20_000, 1_000), (1_024, 768), (256, 192), (70, 6), (60, 1)],
)
def test_there_are_fewer_connections_than_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, allowed: int
) -> None:
    """Some stay for the database and the model's files."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert allowed_connections(1_000) == allowed


def test_asking_for_another_protocol_is_answered_in_this_one(
    make_service: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    """WebSockets and HTTP/2 are not spoken: the request is one like any other, what follows it is
    not read as a request, and the log stays quiet."""
    service = make_service()
    service.promote(1)
    caplog.clear()
    with serve(service.app) as url:
        for protocol in ("websocket", "h2c"):
            asked = f"connection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
            with connect(url) as connection:
                connection.sendall(f"GET /model HTTP/1.1\r\nhost: x\r\n{asked}".encode() * 2)
                answers = read_all(connection)
            assert answers.startswith(b"HTTP/1.1 200 OK")
            assert answers.count(b"HTTP/1.1") == 1
            assert b"connection: close" in answers
    assert caplog.messages == []
