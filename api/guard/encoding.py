"""Compressed bodies: read within the limit of bytes, or refused by name."""

from __future__ import annotations

import zlib

from fastapi.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from api.refusal import Refusal

READ = ("gzip", "x-gzip", "deflate")
_ANY_HEADER = 32 + zlib.MAX_WBITS  # zlib finds out which of the two it is


def read_compressed(receive: Receive, encoding: str, max_bytes: int) -> Receive:
    """`receive` of a request whose body is in a Content-Encoding; it gives the plain body at once.

    It raises Refusal: 415 for an encoding that is not read, 400 for a damaged body, 413 for more
    than `max_bytes`, as soon as that many are unpacked.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return receive
    done = False

    async def receive_plain() -> Message:
        nonlocal done
        if done:
            return await receive()
        if name not in READ:
            raise Refusal(
                415,
                "Content-Encoding: wanted gzip, deflate or an uncompressed body, "
                f"got {encoding[:80]!r}",
                headers={"accept-encoding": "gzip, deflate"},
            )
        parts: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return message
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        done = True
        plain = await run_in_threadpool(_unpack, b"".join(parts), name, max_bytes)
        return {"type": "http.request", "body": plain, "more_body": False}

    return receive_plain


def _unpack(packed: bytes, name: str, max_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(_ANY_HEADER)
    try:
        plain = unpacking.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise _damaged(name, str(error)) from None
    if len(plain) > max_bytes:
        raise Refusal(
            413, f"wanted a body of at most {max_bytes} bytes unpacked, got more: split it"
        )
    if not unpacking.eof:
        raise _damaged(name, "it ends too early")
    if unpacking.unused_data:
        raise _damaged(name, f"{len(unpacking.unused_data)} bytes follow its end")
    return plain


def _damaged(name: str, got: str) -> Refusal:
    return Refusal(
        400, f"Content-Encoding: wanted a whole body in {name}, got a damaged one: {got}"
    )
