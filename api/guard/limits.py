"""Limits of a request: where it comes from, API key, bytes, requests at once, seconds.

A plain ASGI layer: it costs a request a few microseconds, whether it passes or is refused.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guard.early_close import close_early
from api.guard.encoding import read_compressed
from api.guard.keys import Keys
from api.refusal import Refusal
from closedloop.operations.access.foreign import OwnHosts
from closedloop.operations.api_keys import ApiKey, Role

_LOG = logging.getLogger("closedloop.service")
RETRY_SECONDS = 1
# For monitoring, and for people who look for the page: without a key, however busy the service is.
OPEN_PATHS = frozenset({"/", "/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
_TRUSTED = "closedloop.trusted"
# In the scope of a request: the ApiKey of who asks, None while no key is wanted.
KEY = "closedloop.key"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# With a key, answered however busy the service is.
MONITORING_PATHS = frozenset({"/metrics"})


@dataclass(frozen=True)
class RequestLimits:
    """What a request and its connection may take.

    `max_waiting_requests` bounds all open requests, waiting or not. `stall_seconds` is the longest
    time between two bytes of a body, or of an answer that the client takes.
    """

    max_body_bytes: int = 10_000_000
    max_waiting_requests: int = 512
    request_seconds: float = 30.0
    max_header_bytes: int = 32_768
    header_seconds: float = 10.0
    stall_seconds: float = 10.0
    keep_alive_seconds: float = 5.0
    max_connections: int = 1_000


def answer_refusal(refusal: Refusal) -> JSONResponse:
    """The answer that carries a refusal: its status, its detail, its headers."""
    return JSONResponse({"detail": refusal.detail}, refusal.status, headers=refusal.headers)


def is_trusted(scope: Scope) -> bool:
    """Whether the client of an open path has a key, or needs none, and may read texts of errors."""
    return bool(scope.get(_TRUSTED, True))


class Guard:
    """Passes a request to the app, or raises the Refusal that says why not: 401, 403, 413 or 503.

    While no key is wanted, requests that a page of another site may have caused are refused by the
    rules of `hosts`: 400, 403 or 415. A key is proof enough, for no page has it. The key of who
    asks is in the scope, as `closedloop.key`; a viewer may only read, and with a `use_case` a key
    for others is none here.

    A request out of time is answered 503, but counts as open until its work has ended: it may still
    hold a thread or wait for a record, and the bound is on the work.
    """

    def __init__(
        self,
        limits: RequestLimits,
        keys: Keys | None,
        hosts: OwnHosts | None = None,
        open_paths: frozenset[str] = OPEN_PATHS,
        use_case: str | None = None,
    ) -> None:
        self._limits, self._keys, self._hosts = limits, keys, hosts
        self._open_paths, self._use_case = open_paths, use_case
        self.open_requests = 0

    def close_early(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """`receive` and `send` of a request that may be answered before its body is read."""
        return close_early(scope, receive, send, self._limits.max_body_bytes)

    async def pass_to(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], scope["headers"]
        if self._hosts is not None and (self._keys is None or not self._keys.wanted):
            foreign = self._hosts.refuse(scope)
            if foreign is not None:
                raise Refusal(foreign.status, foreign.reason)
        if path in self._open_paths:
            scope[_TRUSTED] = self._keys is None or self._keys.accepts(headers, self._use_case)
            await app(scope, receive, send)
            return
        key = scope[KEY] = None if self._keys is None else self._keys.check(headers)
        if key is not None and key.role is Role.VIEWER and scope["method"] not in _READING:
            raise _only_reads(key, path)
        if key is not None and self._use_case is not None and not key.allows(self._use_case):
            raise _of_another(key, self._use_case)
        if path in MONITORING_PATHS:
            await app(scope, receive, send)
            return
        receive = self._bound_body(headers, receive)
        limits = self._limits
        if self.open_requests >= limits.max_waiting_requests:
            raise Refusal(
                503,
                f"{self.open_requests} requests are open, the maximum: retry in a moment",
                RETRY_SECONDS,
            )
        exchange = _Exchange(scope, receive, send, limits.request_seconds)
        timer = asyncio.get_running_loop().call_later(limits.request_seconds, exchange.end)
        self.open_requests += 1
        try:
            await exchange.run(app)
        finally:
            self.open_requests -= 1
            timer.cancel()

    def _bound_body(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> Receive:
        """Refuse a body that announces too many bytes; count one that announces none.

        The limit holds for a compressed body both as it came and unpacked.
        """
        announced, counted, encoding = -1, False, ""
        for name, value in headers:
            if name == b"content-length":
                announced = int(value) if value.isdigit() else -1
            elif name == b"transfer-encoding":
                counted = True
            elif name == b"content-encoding":
                encoding += (", " if encoding else "") + value.decode("latin-1")
        max_bytes = self._limits.max_body_bytes
        if announced > max_bytes:
            raise _too_large(f"{announced} bytes", max_bytes)
        if counted or announced < 0:
            receive = _count_bytes(receive, max_bytes)
        return read_compressed(receive, encoding, max_bytes) if encoding else receive


class _Exchange:
    """One request and its answer; when its time is over, a refusal takes the answer's place."""

    __slots__ = (
        "_cut",
        "_receive",
        "_refusal",
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
        self._refusal: asyncio.Task[None] | None = None
        self._started = self._sending = self._cut = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self._send_in_time)
        except asyncio.CancelledError:
            if not self._cut or self._task is None:
                raise
            self._task.uncancel()
        except Exception as error:
            if self._refusal is None:
                raise
            if not isinstance(error, Refusal | ClientDisconnect):
                _LOG.error("a request failed after it was refused as too slow", exc_info=error)
        if self._refusal is not None:
            await self._refusal

    async def _send_in_time(self, message: Message) -> None:
        if self._refusal is not None:
            return  # the refusal was the answer
        self._started = self._sending = True
        await self._send(message)
        self._sending = False

    def end(self) -> None:
        """Refuse the request, or cut it off: its time is over."""
        if self._sending and self._task is not None:
            self._cut = self._task.cancel()  # the client does not read, so it gets no refusal
        elif not self._started:
            refusal = Refusal(
                503,
                f"no answer within {self._seconds:g} s: retry in a moment",
                RETRY_SECONDS,
            )
            self._refusal = asyncio.create_task(
                answer_refusal(refusal)(self._scope, self._receive, self._send)
            )


def _count_bytes(receive: Receive, max_bytes: int) -> Receive:
    read = 0

    async def receive_counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > max_bytes:
            raise _too_large("more", max_bytes)
        return message

    return receive_counted


def _only_reads(key: ApiKey, path: str) -> Refusal:
    return Refusal(
        403,
        f"{path[:200]}: wanted a key with the role client or operator, got {key.name}, a viewer's: "
        "create one with closedloop key add NAME",
    )


def _of_another(key: ApiKey, use_case: str) -> Refusal:
    return Refusal(
        403,
        f"wanted a key for the use case {use_case}, got {key.name}, which is for "
        f"{', '.join(key.use_cases)} only: create one with closedloop key add NAME --for "
        f"{use_case}",
    )


def _too_large(got: str, max_bytes: int) -> Refusal:
    return Refusal(413, f"wanted a body of at most {max_bytes} bytes, got {got}: split it")
