"""Around every request: count it, time it, guard it, and give errors of the service an id."""

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

from api.guard.limits import Guard, answer_refusal
from api.metrics.service import Metrics
from api.refusal import Refusal

_LOG = logging.getLogger("closedloop.service")


class Guarded:
    """An app behind the guard: every request is counted and timed, and an error becomes a 503.

    That 503 has an id, which is also in the log. Refused requests are counted under their path when
    it is one of the `known` paths.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, guard: Guard, known: Container[str]) -> None:
        self._app, self._metrics, self._guard, self._known = app, metrics, guard, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, counted = time.perf_counter(), 0, False
        receive, send = self._guard.close_early(scope, receive, send)

        def count() -> None:
            nonlocal counted
            if not counted:
                counted = True
                seconds = time.perf_counter() - started
                self._metrics.count_request(self._route_of(scope), status or 499, seconds)

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body"):
                count()  # now: the work of a request out of time goes on after its answer
            await send(message)

        try:
            await self._guard.pass_to(self._app, scope, receive, send_counted)
        except ClientDisconnect:
            return  # nobody waits for an answer
        except Refusal as refusal:  # of the guard or a fast path: the app answers its own
            await answer_refusal(refusal)(scope, receive, send_counted)
        except Exception as error:
            if status:
                raise
            await _answer_fault(error)(scope, receive, send_counted)
        finally:
            count()

    def _route_of(self, scope: Scope) -> str:
        # Made-up paths must not become label values: each would be a time series of its own.
        route: Any = scope.get("route") or scope.get("endpoint")
        return getattr(route, "path", None) or (
            scope["path"] if scope["path"] in self._known else "unmatched"
        )


class ServiceApp(FastAPI):
    """FastAPI's app with fast paths: their POST requests skip its layers, slower than a model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._fast_paths: dict[str, ASGIApp] = {}

    def guard(self, metrics: Metrics, guard: Guard, known: Container[str]) -> None:
        """Put every request behind `guard`; call it before a fast path is added."""
        self._guarded = partial(Guarded, metrics=metrics, guard=guard, known=known)
        self.add_middleware(Guarded, metrics=metrics, guard=guard, known=known)

    def guarded(self, app: ASGIApp, guard: Guard) -> ASGIApp:
        """An app beside this one, behind another guard; its requests are counted here."""
        return self._guarded(app, guard=guard)

    def add_fast_path(self, path: str, endpoint: ASGIApp) -> None:
        """Answer each POST to `path` with `endpoint`, guarded like every other request."""
        self._fast_paths[path] = self._guarded(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = (
            self._fast_paths.get(scope["path"])
            if scope["type"] == "http" and scope["method"] == "POST"
            else None
        )
        if endpoint is None:
            await super().__call__(scope, receive, send)
        else:
            await endpoint(scope, receive, send)


def _answer_fault(error: Exception) -> JSONResponse:
    error_id = uuid4().hex
    _LOG.error("error %s", error_id, exc_info=error)
    return JSONResponse(
        {
            "detail": f"the service failed: look for error {error_id} in its log",
            "error_id": error_id,
        },
        503,
    )
