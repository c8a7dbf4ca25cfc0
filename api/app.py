"""`create_app`: the service from the parts it is given. It chooses none of them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
from api.messages import Refusal
from api.metrics import Metrics
from api.model import Follower
from api.predicting import PredictEndpoint, Predictor
from api.routes import Store, build_router, describe_predict
from closedloop.recorder import Recorder

_LOG = logging.getLogger("closedloop.service")
MAX_ROWS = 10_000


def create_app(
    follower: Follower, records: Store, *, title: str = "closedloop", max_rows: int = MAX_ROWS, answer_without_records: bool = False
) -> FastAPI:
    """The service that answers with `follower.production` and records in `records`.

    The follower runs from the app's start to its end; nothing waits for the first model: until it is there, `/ready` and
    `/predict` say 503 and why. `answer_without_records` prefers an answer without a record over no answer.
    """
    recorder = Recorder(records)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        follower.start()
        recorder.start()
        try:
            yield
        finally:
            follower.stop()
            await run_in_threadpool(recorder.close)  # what was accepted is recorded first

    metrics = Metrics(follower.production, recorder)
    app = FastAPI(title=title, description="Answers with the production model and records every answer.", lifespan=lifespan)
    diary = Diary(recorder, metrics, answer_without_records=answer_without_records)
    predictor = Predictor(follower.production, diary, metrics)
    endpoint = PredictEndpoint(predictor, max_rows)
    app.router.routes.insert(0, Route(endpoint.path, endpoint, methods=["POST"], include_in_schema=False))
    app.include_router(build_router(follower.production, records, diary, metrics, max_rows=max_rows))
    app.include_router(invocations.build_router(predictor, max_rows=max_rows))
    app.include_router(open_inference.build_router(predictor, max_rows=max_rows))
    app.add_exception_handler(Refusal, _say_refusal)
    app.add_middleware(Watch, metrics=metrics, hot={endpoint.path: endpoint})
    described = APIRouter()
    describe_predict(described)
    follow_model(app, follower.production, described)
    return app


def run(app: FastAPI, host: str, port: int) -> None:
    """Serve until the process is told to stop; requests under way are answered first."""
    import uvicorn

    uvicorn.run(app, host=host, port=port, access_log=False, timeout_graceful_shutdown=30)


async def _say_refusal(_request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    return _say(refusal)


def _say(refusal: Refusal) -> JSONResponse:
    return JSONResponse({"detail": refusal.detail}, refusal.status, headers=refusal.headers)


class Watch:
    """Counts and times every request, and answers 503 with an id to look up in the log when something of ours went wrong.

    A POST to one of the `hot` paths skips the layers of the framework, which take longer than the model.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hot: Mapping[str, ASGIApp]) -> None:
        self._app, self._metrics, self._hot = app, metrics, hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: list[int] = []

        async def send_watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        started = time.perf_counter()
        hot = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
        if hot is not None:
            scope["endpoint"] = hot
        try:
            await (hot or self._app)(scope, receive, send_watched)
        except ClientDisconnect:
            return  # nobody is there to be told
        except Refusal as refusal:  # of a hot path: those of the others have been said by the app
            await _say(refusal)(scope, receive, send_watched)
        except Exception as error:
            if status:
                raise
            await _say_fault(error)(scope, receive, send_watched)
        finally:
            route = _route_of(scope)
            self._metrics.requests.labels(route, str(status[0] if status else 499)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - started)


def _say_fault(error: Exception) -> JSONResponse:
    error_id = uuid4().hex
    _LOG.error("error %s", error_id, exc_info=error)
    return JSONResponse({"detail": f"the service could not answer this: look for error {error_id} in its log", "error_id": error_id}, 503)


def _route_of(scope: Scope) -> str:
    # Made-up paths must not become label values: each would be a time series of its own.
    route: Any = scope.get("route") or scope.get("endpoint")
    return getattr(route, "path", "unmatched")
