"""Limits of a connection, before there is a request that could be refused: bytes, time, number.

uvicorn's protocol has none of them: without, a header without an end fills the memory, and idle
connections take all descriptors of the process. None of it needs an API key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import time
from dataclasses import dataclass, field
from typing import Any

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.guard.joined_writes import JoinedWrites
from api.guard.limits import RequestLimits

_LOG = logging.getLogger("closedloop.service")
_LOG_SECONDS = 60.0  # between two lines about connections that were closed for the same reason
_MAX_PIPELINED = 16  # requests of one connection that wait for the one before them
# Why a connection was closed before its client wanted that.
REASONS = {
    "header_size": "a header too large, or a body in too many parts",
    "header_time": "no whole header in time",
    "body_time": "a body of which no more came",
    "answer_time": "an answer that was not read in time",
    "pipelined": "too many requests that did not wait for an answer",
    "not_http": "something else than HTTP/1.1",
    "idle": "idle the longest when there was no more room for others",
    "full": "no room, because all others waited for an answer",
}


def allowed_connections(wanted: int) -> int:
    """At most `wanted`, and fewer than the descriptors that this process may open."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    # What is left is for the database, the model's files and connections that were just accepted.
    return min(wanted, max(descriptors - max(64, descriptors // 4), 1))


@dataclass
class _Closed:
    """How many connections were closed for one reason since the last line in the log."""

    number: int = 0
    logged: float = -_LOG_SECONDS


@dataclass
class Connections:
    """All open connections of a process. `waiting`: those without a request, the oldest first."""

    limits: RequestLimits
    closed: Counter
    max_connections: int = field(init=False)
    open: set[GuardedProtocol] = field(default_factory=set)
    waiting: dict[GuardedProtocol, None] = field(default_factory=dict)
    _closed: dict[str, _Closed] = field(init=False)

    def __post_init__(self) -> None:
        self.max_connections = allowed_connections(self.limits.max_connections)
        self._closed = {reason: _Closed() for reason in REASONS}
        for reason in REASONS:
            self.closed.labels(reason)  # on /metrics from the start

    def admit(self, new: GuardedProtocol) -> bool:
        """Make room for a connection by closing the one that is idle the longest; False if none is.

        So whoever opens many gets in the way of themselves, and nobody is locked out.
        """
        if len(self.open) >= self.max_connections:
            oldest = next(iter(self.waiting), None)
            if oldest is None:
                return False
            oldest.end("idle")
        self.open.add(new)
        self.waiting[new] = None
        return True

    def forget(self, gone: GuardedProtocol) -> None:
        self.open.discard(gone)
        self.waiting.pop(gone, None)

    def count(self, reason: str) -> None:
        """Count a connection that is closed; log it, unless that was done lately."""
        self.closed.labels(reason).inc()
        closed, now = self._closed[reason], time.monotonic()
        closed.number += 1
        if now - closed.logged >= _LOG_SECONDS:
            _LOG.warning("connections closed: %s (%s)", closed.number, REASONS[reason])
            closed.number, closed.logged = 0, now

    def close_overdue(self) -> None:
        """Close every connection whose time is over; call it every second."""
        for connection in tuple(self.open):
            connection.end_if_overdue()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within the limits of the app's `connections`, which its lifespan hands on.

    What is counted costs a request about two microseconds; the clock is looked at once a second.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._connections: Connections = self.app_state["connections"]
        limits = self._connections.limits
        self._max_header, self.timeout_keep_alive = (
            limits.max_header_bytes,
            limits.keep_alive_seconds,
        )
        # Bytes of a request line, header, chunk line or trailer: all but bodies.
        self._head_bytes = 0
        self._full = self._idle = False
        self._since = self._moved = self.loop.time()  # of its state; of its last byte
        # Bytes of answers that the client has not taken: how many, since when, when some went last.
        self._received, self._unsent = True, 0
        self._unsent_since = self._moved_out = self._since
        if not self._connections.admit(self):
            self._refuse(503, "all connections are in use: retry in a moment", "full")

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._full:
            return
        self._unset_keepalive_if_required()
        self._received = True
        if self._idle:
            self._idle, self._since = False, self.loop.time()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered in HTTP/1.1. The parser takes what follows for the other protocol.
            self._full, self.cycle.keep_alive = True, False
            return
        except httptools.HttpParserError:
            if not self._full:
                self._refuse(400, "wanted HTTP/1.1", "not_http")
            return
        if self._head_bytes > self._max_header:
            self._refuse_header()

    def on_headers_complete(self) -> None:
        # Of what came in one piece, a part may belong to the body or to the next request.
        if self._head_bytes > self._max_header and self._header_size() > self._max_header:
            self._full = True
            self._refuse_header()
            raise ValueError("the header is too large")
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._full = True
            self.pipeline[0][0].keep_alive = False  # those before are answered
            self._connections.count("pipelined")
            raise ValueError("too many requests wait")
        self._head_bytes = 0
        self._connections.waiting.pop(self, None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        # What separates chunks may be an eighth of what is in them: chunks of a byte would keep the
        # parser busy for seconds.
        if self._head_bytes:
            self._head_bytes = max(0, self._head_bytes - len(body) - len(body) // 8)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and self in self._connections.open:
            self._idle, self._head_bytes = True, 0
            self._connections.waiting[self] = None

    def end(self, reason: str) -> None:
        """Close without an answer; at once where the client does not read either."""
        self._connections.count(reason)
        self._connections.forget(self)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def end_if_overdue(self) -> None:
        """End what is too slow; call it every second."""
        now, limits = self.loop.time(), self._connections.limits
        if self._received:
            self._received, self._moved = False, now
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._unsent_since = self._moved_out = now
        elif unsent < self._unsent:
            self._moved_out = now
        self._unsent = unsent
        if unsent and (
            now - self._moved_out > limits.stall_seconds
            or now - self._unsent_since > limits.request_seconds
        ):
            self.end("answer_time")
        elif self in self._connections.waiting:
            # An idle connection is ended by uvicorn's timer.
            if not self._idle and now - self._since > limits.header_seconds:
                seconds = limits.header_seconds
                if self._head_bytes:
                    self._refuse(408, f"no whole header within {seconds:g} s", "header_time")
                else:
                    self.end("header_time")
        elif (
            self.cycle.more_body
            and not self.flow.read_paused
            and now - self._moved > limits.stall_seconds
        ):
            seconds = limits.stall_seconds
            self._refuse(408, f"nothing more of the body for {seconds:g} s", "body_time")

    def _header_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_header(self) -> None:
        if self in self._connections.waiting:
            status, detail = 431, f"wanted a header of at most {self._max_header} bytes, got more"
        else:
            status, detail = 400, "wanted a body in larger chunks, without extensions or trailers"
        self._refuse(status, detail, "header_size")

    def _refuse(self, status: int, detail: str, reason: str) -> None:
        """Answer, unless another answer is under way, and close."""
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if not (answering and cycle.response_started) and not self.pipeline:
            body = json.dumps({"detail": detail}).encode()
            headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self.transport.write(
                b"%sconnection: close\r\n%scontent-length: %d\r\n\r\n%s"
                % (STATUS_LINE[status], lines, len(body), body)
            )
        if answering:
            cycle.disconnected = True
            cycle.message_event.set()
        self._full = True
        self._connections.count(reason)
        self._connections.forget(self)
        self.transport.close()
        # It stays open until the client has read that.
        self.loop.call_later(self._connections.limits.stall_seconds, self.transport.abort)
