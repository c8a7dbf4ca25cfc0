"""An answer before the end of the request's body: the client has it, and the connection does not
outlive it for long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.guard import early_close
from api.guard.keys import Keys
from api.guard.limits import RequestLimits
from tests.api.raw_connections import FAR_TOO_MUCH, connect, send_on_and_on
from tests.api.test_under_load import serve

Service = Any  # tests/api/conftest.py
MOST = 100_000
CHUNKED, SAID = "transfer-encoding: chunked", "content-length: 1000000000000000"


def send_without_end(connection: socket.socket, head: str, size: str) -> int:
    """The bytes of body that went out before the connection was gone."""
    block = b"2710\r\n" + bytes(10_000) + b"\r\n" if size == CHUNKED else bytes(10_000)
    start = f"{head} HTTP/1.1\r\nhost: x\r\n{size}\r\n\r\n".encode()
    return send_on_and_on(connection, start, block)


@pytest.mark.parametrize(
    ("head", "size", "status"),
    [
        ("POST /predict", CHUNKED, 413),
        ("POST /labels", CHUNKED, 413),
        ("POST /invocations", CHUNKED, 415),
        ("POST /v2/models/shop/infer", CHUNKED, 413),
        ("POST /predict", SAID, 413),
        ("POST /health", CHUNKED, 405),
        ("GET /health", SAID, 200),
        ("POST /nowhere", CHUNKED, 404),
    ],
)
def test_whoever_sends_without_end_is_answered_and_cut_off(
    make_service: Callable[..., Service], head: str, size: str, status: int
) -> None:
    """A body of unknown or forbidden size gets its answer, `connection: close` and an end."""
    service = make_service(limits=RequestLimits(max_body_bytes=MOST))
    service.promote(1)
    with serve(service.app) as url, connect(url) as client:
        sent = send_without_end(client, head, size)
        answer = client.recv(10_000)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"connection: close\r\n" in answer
        assert sent < FAR_TOO_MUCH


def test_whoever_has_no_key_cannot_send_without_end_either(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    """A 401 ends the connection of a body without end."""
    service = make_service(
        limits=RequestLimits(max_body_bytes=MOST), keys=Keys(tmp_path / "keys.json", needed=True)
    )
    service.promote(1)
    with serve(service.app) as url, connect(url) as client:
        assert send_without_end(client, "POST /predict", CHUNKED) < FAR_TOO_MUCH
        assert client.recv(10_000).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_client_that_sends_all_before_it_reads_finds_its_answer(
    make_service: Callable[..., Service], chunked: bool
) -> None:
    """A body that is half as large again as allowed is a whole 413 and then an orderly end, not a
    reset."""
    service = make_service(limits=RequestLimits(max_body_bytes=MOST))
    service.promote(1)
    size = MOST * 3 // 2
    body = f"{size:x}\r\n".encode() + bytes(size) + b"\r\n0\r\n\r\n" if chunked else bytes(size)
    with serve(service.app) as url, connect(url) as client:
        said = CHUNKED if chunked else f"content-length: {size}"
        client.sendall(f"POST /predict HTTP/1.1\r\nhost: x\r\n{said}\r\n\r\n".encode() + body)
        answer = b""
        while part := client.recv(10_000):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'split it"}')


def test_a_body_that_was_read_or_has_an_end_costs_no_connection(
    make_service: Callable[..., Service],
) -> None:
    """A chunked row that is answered, and a small body that a 404 leaves unread, leave the
    connection open for the next request."""
    service = make_service(limits=RequestLimits(max_body_bytes=MOST))
    service.promote(1)
    row = b'{"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": true}'
    chunked = (
        f"POST /predict HTTP/1.1\r\nhost: x\r\n{CHUNKED}\r\n\r\n{len(row):x}\r\n".encode()
        + row
        + b"\r\n0\r\n\r\n"
    )
    short = (
        f"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: {len(row)}\r\n\r\n".encode() + row
    )
    with serve(service.app) as url, connect(url) as client:
        for request, status in ((chunked, 200), (short, 404), (chunked, 200)):
            client.sendall(request)
            assert read_answer(client).startswith(f"HTTP/1.1 {status} ".encode())


def read_answer(client: socket.socket) -> bytes:
    """Head and body of one answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += client.recv(10_000) or pytest.fail(f"the connection ended after {got!r}")
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += client.recv(10_000) or pytest.fail(f"the connection ended after {got!r}")
    return head + b"\r\n\r\n" + body


def test_a_client_that_waits_in_the_middle_of_its_body_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A silent client gets its seconds after the answer, and readers of the body a disconnect."""
    monkeypatch.setattr(early_close, "_SECONDS", 0.05)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def answer() -> Any:
        scope = {"headers": [(b"transfer-encoding", b"chunked")]}
        read, say = early_close.close_early(scope, receive, send, MOST)
        await say({"type": "http.response.start", "status": 404, "headers": []})
        await say({"type": "http.response.body", "body": b"no"})
        return await read()

    assert asyncio.run(asyncio.wait_for(answer(), 30)) == {"type": "http.disconnect"}
    assert sent[0]["headers"] == [(b"connection", b"close")]
    assert [(message["body"], message["more_body"]) for message in sent[1:2]] == [(b"no", True)]
    assert sent[2] == {"type": "http.response.body"}
