"""`create_app`: the service from the parts it is given. It chooses none of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from math import ceil
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import invocations, open_inference
from api.diary import Diary
from api.documentation import follow_model
from api.keys import Keys
from api.limits import Gate, Limits, answer_refusal
from api.messages import Refusal
from api.metrics import Metrics
from api.model import Follower
from api.predicting import PredictEndpoint, Predictor
from api.routes import Store, build_router, describe_predict
from closedloop.recorder import Recorder

_LOG = logging.getLogger("closedloop.service")
MAX_ROWS = 10_000
_REFRESH_SECONDS = 1.0


def create_app(
    follower: Follower,
    records: Store,
    *,
    title: str = "closedloop",
    max_rows: int = MAX_ROWS,
    limits: Limits | None = None,
    keys: Keys | None = None,
    answer_without_records: bool = False,
) -> FastAPI:
    """The service that answers with `follower.production` and records in `records`.

    The follower looks once before the first request and runs to the app's end; while there is no model, `/ready` and `/predict` say 503
    and why. `answer_without_records` prefers an answer without a record over no answer. Without `keys` nobody needs one.
    """
    recorder = Recorder(records)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # The first look comes before the first request: a worker that has no model yet must not take requests that another could answer.
        await run_in_threadpool(follower.follow_once)
        follower.start()
        recorder.start()
        reading = asyncio.create_task(_keep_fresh(metrics))
        try:
            yield
        finally:
            reading.cancel()
            follower.stop()
            await run_in_threadpool(recorder.close)  # what was accepted is recorded first

    metrics = Metrics(follower.production, recorder)
    app = FastAPI(title=title, description="Answers with the production model and records every answer.", lifespan=lifespan)
    diary = Diary(recorder, metrics, answer_without_records=answer_without_records)
    predictor = Predictor(follower.production, diary, metrics)
    endpoint = PredictEndpoint(predictor, max_rows)
    app.router.routes.insert(0, Route(endpoint.path, endpoint, methods=["POST"], include_in_schema=False))
    routers = [
        build_router(follower.production, records, diary, metrics, max_rows=max_rows),
        invocations.build_router(predictor, max_rows=max_rows),
        open_inference.build_router(predictor, max_rows=max_rows),
    ]
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(Refusal, _say_refusal)
    known = frozenset(path for route in chain(app.routes, *(one.routes for one in routers)) if (path := getattr(route, "path", None)))
    app.add_middleware(Watch, metrics=metrics, gate=Gate(limits or Limits(), keys), hot={endpoint.path: endpoint}, known=known)
    described = APIRouter()
    describe_predict(described)
    follow_model(app, follower.production, described, keys)
    return app


async def _keep_fresh(metrics: Metrics) -> None:
    while True:
        metrics.refresh()
        await asyncio.sleep(_REFRESH_SECONDS)


def tend_memory() -> None:
    """For a process that does nothing but serve: look for garbage seldom, and never again among what it was started with.

    A request makes no cycles, but thousands of values; with Python's own settings a sixth of its time went into looking for them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def run(app: FastAPI, host: str, port: int, *, patience_seconds: float = 30.0) -> None:
    """Serve until SIGTERM or Ctrl-C, and then return: nothing new is taken, what is under way is answered and recorded first.

    `patience_seconds` bounds that wait; it should not be less than a request may take. Call it from the main thread.
    """
    import uvicorn

    tend_memory()
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, access_log=False, timeout_graceful_shutdown=ceil(patience_seconds)))
    for number in (signal.SIGINT, signal.SIGTERM):
        # When it is done, the server raises the signal again for whoever had asked before: the default would end the process as killed.
        signal.signal(number, server.handle_exit)
    server.run()


async def _say_refusal(_request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    return answer_refusal(refusal)


class Watch:
    """Counts and times every request, and answers 503 with an id to look up in the log when something of ours went wrong.

    A POST to one of the `hot` paths skips the layers of the framework, which take longer than the model. What the gate refuses is
    counted under its path when that is one of the `known`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, gate: Gate, hot: Mapping[str, ASGIApp], known: Container[str]) -> None:
        self._app, self._metrics, self._gate, self._hot, self._known = app, metrics, gate, hot, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, counted = time.perf_counter(), 0, False

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

        hot = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
        if hot is not None:
            scope["endpoint"] = hot
        try:
            await self._gate.pass_to(hot or self._app, scope, receive, send_watched)
        except ClientDisconnect:
            return  # nobody is there to be told
        except Refusal as refusal:  # of the gate or a hot path: those of the others have been said by the app
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
        return getattr(route, "path", None) or (scope["path"] if scope["path"] in self._known else "unmatched")


def _say_fault(error: Exception) -> JSONResponse:
    error_id = uuid4().hex
    _LOG.error("error %s", error_id, exc_info=error)
    return JSONResponse({"detail": f"the service could not answer this: look for error {error_id} in its log", "error_id": error_id}, 503)
