"""An answer that is given before the end of the request's body: what still comes is taken for a
moment, and then the connection ends.

A server goes on reading and throwing away for as long as the client sends. A body of a size that
was said and allowed has an end; one that is sent in chunks, or says more than is allowed, may have
none.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

_SECONDS = 2.0
_GONE: Message = {"type": "http.disconnect"}


def end_unread(scope: Scope, receive: Receive, send: Send, most: int) -> tuple[Receive, Send]:
    """`receive` and `send` for one request whose body may hold `most` bytes.

    An answer before the end of a body without a known, allowed size says `connection: close`. Once
    it is out, what comes within 2 seconds is thrown away, up to twice `most`, so that a client that
    sends all before it reads finds the answer and no reset. Then it ends.
    """
    if _has_an_end(scope, most):
        return receive, send
    read = answering = False

    async def receive_until_answered() -> Message:
        nonlocal read
        message = _GONE if answering else await receive()
        if answering:  # while it waited: the rest is thrown away, and a body with holes is no body
            return _GONE
        read = not message.get("more_body", False)
        return message

    async def send_and_end(message: Message) -> None:
        nonlocal answering
        if message["type"] == "http.response.start" and not read:
            answering = True
            message = {
                **message,
                "headers": [*message.get("headers", ()), (b"connection", b"close")],
            }
        elif answering and not message.get("more_body"):
            await send(
                {**message, "more_body": True}
            )  # the client has it all; the server does not close yet
            try:
                await _throw_away(receive, 2 * most)
            finally:
                await send({"type": "http.response.body"})
            return
        await send(message)

    return receive_until_answered, send_and_end


def _has_an_end(scope: Scope, most: int) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (
            name == b"content-length" and not (value.isdigit() and int(value) <= most)
        ):
            return False
    return True


async def _throw_away(receive: Receive, most: int) -> None:
    left = most
    try:
        async with asyncio.timeout(_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body"):
                    return
                left -= len(message["body"])
    except TimeoutError:
        return
