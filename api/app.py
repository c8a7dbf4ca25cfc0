"""`create_app`: the service from the parts it is given. It chooses none of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain

from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.routing import Route

from api.guard.keys import Keys
from api.guard.limits import Gate, Limits, answer_refusal
from api.guard.middleware import Service
from api.metrics.service import Metrics
from api.model.follower import Follower
from api.openapi import follow_model
from api.predict.endpoint import PredictEndpoint
from api.predict.predictor import Predictor
from api.predict.record_first import RecordFirst
from api.protocols import mlflow as invocations
from api.protocols import v2 as open_inference
from api.routes import build_router, describe_predict
from api.schemas import Refusal
from closedloop.records.queue import RecordQueue, Store

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
) -> Service:
    """The service that answers with `follower.production` and records in `records`.

    The follower looks once before the first request and runs to the app's end; while there is no
    model, `/ready` and `/predict` say 503 and why. `answer_without_records` prefers an answer
    without a record over no answer. Without `keys` nobody needs one.
    """
    queue = RecordQueue(records)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # The first look comes before the first request: a worker that has no model yet must not
        # take requests that another could answer.
        await run_in_threadpool(follower.follow_once)
        follower.start()
        queue.start()
        reading = asyncio.create_task(_keep_fresh(metrics))
        try:
            yield
        finally:
            reading.cancel()
            follower.stop()
            await run_in_threadpool(queue.close)  # what was accepted is recorded first

    metrics = Metrics(follower.production, queue)
    app = Service(
        title=title,
        description="Answers with the production model and records every answer.",
        lifespan=lifespan,
    )
    record_first = RecordFirst(queue, metrics, answer_without_records=answer_without_records)
    predictor = Predictor(follower.production, record_first, metrics)
    endpoint = PredictEndpoint(predictor, max_rows)
    app.router.routes.insert(
        0, Route(endpoint.path, endpoint, methods=["POST"], include_in_schema=False)
    )
    routers = [
        build_router(follower.production, records, record_first, metrics, max_rows=max_rows),
        invocations.build_router(predictor, max_rows=max_rows),
        open_inference.build_router(predictor, max_rows=max_rows),
    ]
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(Refusal, _say_refusal)
    known = frozenset(
        path
        for route in chain(app.routes, *(one.routes for one in routers))
        if (path := getattr(route, "path", None))
    )
    app.watch(metrics, Gate(limits or Limits(), keys), known)
    app.add_hot(endpoint.path, endpoint)
    described = APIRouter()
    describe_predict(described)
    follow_model(app, follower.production, described, keys)
    return app


async def _keep_fresh(metrics: Metrics) -> None:
    while True:
        metrics.refresh()
        await asyncio.sleep(_REFRESH_SECONDS)


async def _say_refusal(_request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    return answer_refusal(refusal)
