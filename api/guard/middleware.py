"""Around every request: counted, timed, let in by the gate, and answered with an id to look up when
something of ours went wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Container
from functools import partial
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guard.limits import Gate, answer_refusal
from api.metrics.service import Metrics
from api.refusal import Refusal

_LOG = logging.getLogger("closedloop.service")


class Watch:
    """Counts and times every request, and answers 503 with an id to look up in the log when
    something of ours went wrong.

    What the gate refuses is counted under its path when that is one of the `known`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, gate: Gate, known: Container[str]) -> None:
        self._app, self._metrics, self._gate, self._known = app, metrics, gate, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, counted = time.perf_counter(), 0, False
        receive, send = self._gate.end_unread(scope, receive, send)

        def count() -> None:
            nonlocal counted
            if not counted:
                counted = True
                route = self._route_of(scope)
                self._metrics.requests.labels(route, str(status or 499)).inc()
                self._metrics.request_seconds.labels(route).observe(time.perf_counter() - started)

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body"):
                count()  # here, because the work of a request that was out of time goes on after its answer
            await send(message)

        try:
            await self._gate.pass_to(self._app, scope, receive, send_watched)
        except ClientDisconnect:
            return  # nobody is there to be told
        except Refusal as refusal:  # of the gate or of a path without the framework: those of the others have been said by the app
            await answer_refusal(refusal)(scope, receive, send_watched)
        except Exception as error:
            if status:
                raise
            await _say_fault(error)(scope, receive, send_watched)
        finally:
            count()

    def _route_of(self, scope: Scope) -> str:
        # Made-up paths must not become label values: each would be a time series of its own.
        route: Any = scope.get("route") or scope.get("endpoint")
        return getattr(route, "path", None) or (
            scope["path"] if scope["path"] in self._known else "unmatched"
        )


class Service(FastAPI):
    """FastAPI's app with short cuts: a POST to a hot path skips the framework's layers, which take
    longer than the model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._hot: dict[str, ASGIApp] = {}

    def watch(self, metrics: Metrics, gate: Gate, known: Container[str]) -> None:
        """Watch every request; to be called before a hot path is added."""
        self._watch = partial(Watch, metrics=metrics, gate=gate, known=known)
        self.add_middleware(Watch, metrics=metrics, gate=gate, known=known)

    def add_hot(self, path: str, endpoint: ASGIApp) -> None:
        """Answer each POST to `path` by `endpoint`, watched as all others are."""
        self._hot[path] = self._watch(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hot = (
            self._hot.get(scope["path"])
            if scope["type"] == "http" and scope["method"] == "POST"
            else None
        )
        if hot is None:
            await super().__call__(scope, receive, send)
        else:
            await hot(scope, receive, send)


def _say_fault(error: Exception) -> JSONResponse:
    error_id = uuid4().hex
    _LOG.error("error %s", error_id, exc_info=error)
    return JSONResponse(
        {
            "detail": f"the service could not answer this: look for error {error_id} in its log",
            "error_id": error_id,
        },
        503,
    )
