"""Closes the connection when a request is answered before the end of its body.

A server goes on reading and discarding for as long as the client sends. A body with an allowed
Content-Length ends; a chunked body, or one that announces more than is allowed, may never end.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

_SECONDS = 2.0
_GONE: Message = {"type": "http.disconnect"}


def close_early(scope: Scope, receive: Receive, send: Send, max_bytes: int) -> tuple[Receive, Send]:
    """Wrap `receive` and `send` of one request, whose body may have `max_bytes`.

    An answer before the end of a body of unknown or forbidden size gets `connection: close`. After
    it, what arrives within 2 seconds is discarded, up to twice `max_bytes`: a client that sends all
    before it reads must find the answer, not a reset. Then the connection ends.
    """
    if _ends(scope, max_bytes):
        return receive, send
    read = answered = False

    async def receive_until_answered() -> Message:
        nonlocal read
        message = _GONE if answered else await receive()
        if answered:  # while it waited: part of the body has been discarded
            return _GONE
        read = not message.get("more_body", False)
        return message

    async def send_and_end(message: Message) -> None:
        nonlocal answered
        if message["type"] == "http.response.start" and not read:
            answered = True
            message = {
                **message,
                "headers": [*message.get("headers", ()), (b"connection", b"close")],
            }
        elif answered and not message.get("more_body"):
            # The client has the whole answer, but the server does not close yet.
            await send({**message, "more_body": True})
            try:
                await _discard(receive, 2 * max_bytes)
            finally:
                await send({"type": "http.response.body"})
            return
        await send(message)

    return receive_until_answered, send_and_end


def _ends(scope: Scope, max_bytes: int) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (
            name == b"content-length" and not (value.isdigit() and int(value) <= max_bytes)
        ):
            return False
    return True


async def _discard(receive: Receive, max_bytes: int) -> None:
    left = max_bytes
    try:
        async with asyncio.timeout(_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body"):
                    return
                left -= len(message["body"])
    except TimeoutError:
        return
