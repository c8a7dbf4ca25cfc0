"""How much one request, and all of them together, may ask of the service: who, how many bytes, how
many at once, how long.

A plain layer: a request that passes costs some microseconds, and one that is refused costs no more
than that.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guard.early_close import end_unread
from api.guard.keys import Keys
from api.refusal import Refusal

_LOG = logging.getLogger("closedloop.service")
RETRY_SECONDS = 1
# Asked by those who watch the service: without a key, and answered however busy it is.
OPEN_PATHS = frozenset({"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
# With a key, and answered however busy it is.
WATCHING_PATHS = frozenset({"/metrics"})


@dataclass(frozen=True)
class Limits:
    """What a request may take; `max_waiting_requests` are under way at once, those that compute and
    those that wait alike."""

    max_body_bytes: int = 10_000_000
    max_waiting_requests: int = 512
    request_seconds: float = 30.0


def answer_refusal(refusal: Refusal) -> JSONResponse:
    """The answer that says it."""
    return JSONResponse({"detail": refusal.detail}, refusal.status, headers=refusal.headers)


class Gate:
    """Lets a request pass to the app, or raises the Refusal that says why not: 401, 413 or 503.

    A request that is out of time is answered 503 and keeps its place until its work has really
    ended: what was begun may hold a thread or wait for a record, and places that were given away
    before would add up to more work than the bound allows.
    """

    def __init__(self, limits: Limits, keys: Keys | None) -> None:
        self._limits, self._keys = limits, keys
        self.under_way = 0

    def end_unread(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """The same two for a request that may be answered, by whomever, before its body was read:
        see `api.guard.early_close`."""
        return end_unread(scope, receive, send, self._limits.max_body_bytes)

    async def pass_to(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], scope["headers"]
        if path in OPEN_PATHS:
            await app(scope, receive, send)
            return
        if self._keys is not None:
            self._keys.check(headers)
        if path in WATCHING_PATHS:
            await app(scope, receive, send)
            return
        receive = self._bound_body(headers, receive)
        limits = self._limits
        if self.under_way >= limits.max_waiting_requests:
            raise Refusal(
                503,
                f"{self.under_way} requests are under way, which is the most: ask again in a moment",
                RETRY_SECONDS,
            )
        exchange = _Exchange(scope, receive, send, limits.request_seconds)
        timer = asyncio.get_running_loop().call_later(limits.request_seconds, exchange.end)
        self.under_way += 1
        try:
            await exchange.run(app)
        finally:
            self.under_way -= 1
            timer.cancel()

    def _bound_body(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> Receive:
        """Refuse a body that says it is too large; one that says nothing is counted while it is
        read."""
        said, counted = -1, False
        for name, value in headers:
            if name == b"content-length":
                said = int(value) if value.isdigit() else -1
            elif name == b"transfer-encoding":
                counted = True
        most = self._limits.max_body_bytes
        if said > most:
            raise _too_large(f"{said} bytes", most)
        return _count_bytes(receive, most) if counted or said < 0 else receive


class _Exchange:
    """One request and its answer, which may be said by somebody else when the time is over."""

    __slots__ = (
        "_apology",
        "_cut",
        "_receive",
        "_scope",
        "_seconds",
        "_send",
        "_sending",
        "_started",
        "_task",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, seconds: float) -> None:
        self._scope, self._receive, self._send, self._seconds = scope, receive, send, seconds
        self._task = asyncio.current_task()
        self._apology: asyncio.Task[None] | None = None
        self._started = self._sending = self._cut = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self._send_in_time)
        except asyncio.CancelledError:
            if not self._cut or self._task is None:
                raise
            self._task.uncancel()
        except Exception as error:
            if self._apology is None:
                raise
            if not isinstance(error, Refusal | ClientDisconnect):
                _LOG.error(
                    "a request that had been answered as too slow ended in an error", exc_info=error
                )
        if self._apology is not None:
            await self._apology

    async def _send_in_time(self, message: Message) -> None:
        if self._apology is not None:
            return  # the answer has been given
        self._started = self._sending = True
        await self._send(message)
        self._sending = False

    def end(self) -> None:
        """The time is over."""
        if self._sending and self._task is not None:
            self._cut = (
                self._task.cancel()
            )  # the client does not read: it would not read this either
        elif not self._started:
            refusal = Refusal(
                503,
                f"no answer within {self._seconds:g} s, it was given up: ask again in a moment",
                RETRY_SECONDS,
            )
            self._apology = asyncio.create_task(
                answer_refusal(refusal)(self._scope, self._receive, self._send)
            )


def _count_bytes(receive: Receive, most: int) -> Receive:
    read = 0

    async def receive_counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise _too_large("more", most)
        return message

    return receive_counted


def _too_large(got: str, most: int) -> Refusal:
    return Refusal(413, f"wanted a body of at most {most} bytes, got {got}: send it in parts")
