"""`create_app`: the service, put together from the parts it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.routing import Route

from api import explain, what_was_live
from api.front_page import add_front_page
from api.guard.connections import Connections
from api.guard.keys import Keys
from api.guard.limits import Guard, RequestLimits, answer_refusal
from api.guard.middleware import ServiceApp
from api.metrics.calls_noted import NoteServed, ServedNotes
from api.metrics.service import Metrics
from api.model.follower import Follower
from api.openapi import add_documentation_page, document_live_model
from api.predict.endpoint import PredictEndpoint
from api.predict.predictor import Predictor
from api.predict.record_first import RecordFirst
from api.process import Process
from api.protocols import mlflow, v2
from api.refusal import Refusal
from api.routes import FAULTS, build_router, describe_predict
from api.shadow import ShadowedPredictor, ShadowMetrics
from closedloop.operations.access.foreign import OwnHosts
from closedloop.records.queue import RecordQueue, Store
from closedloop.shadow.live import LiveShadow

MAX_ROWS = 10_000
_REFRESH_SECONDS = 1.0


def create_app(
    follower: Follower,
    records: Store,
    *,
    use_case: str = "",
    max_rows: int = MAX_ROWS,
    limits: RequestLimits | None = None,
    keys: Keys | None = None,
    hosts: OwnHosts | None = None,
    answer_without_records: bool = False,
    max_explained_rows: int = explain.MAX_EXPLAINED_ROWS,
    open_explainer: explain.OpenExplainer | None = None,
    note_served: NoteServed | None = None,
    shadow: LiveShadow | None = None,
    page_url: str | None = None,
    live: what_was_live.Questions | None = None,
    process: Process | None = None,
) -> ServiceApp:
    """The service of a use case: `follower.production` answers, `records` keeps every answer.

    Until a model is loaded, `/ready` and `/predict` answer 503 with the reason. With
    `answer_without_records`, rows are answered even when they cannot be recorded. Without `keys`,
    everyone may ask, under a name of `hosts` if these are given. `open_explainer` opens what
    explains the scores of a version, `live` answers what was live when. `shadow` is asked what
    production has answered. Browsers that ask for `/` are led to `page_url`. `note_served` writes
    down how each version's model did. `process` is given where several services share one.
    """
    production = follower.production
    limits = limits or RequestLimits()
    queue = RecordQueue(records)
    process = process or Process(limits)
    metrics = Metrics(production, queue, use_case, process.families)
    record_first = RecordFirst(queue, metrics, answer_without_records=answer_without_records)
    served = ServedNotes(note_served)
    predictor = Predictor(production, record_first, metrics, served.counts)
    if shadow is not None:
        ShadowMetrics(metrics, shadow)
        predictor = ShadowedPredictor(production, record_first, metrics, shadow, served.counts)
    endpoint = PredictEndpoint(predictor, max_rows)
    explanations = explain.Explanations(
        production, open_explainer, max_rows=max_explained_rows, seconds=limits.request_seconds
    )

    app = ServiceApp(
        title=f"closedloop: {use_case}" if use_case else "closedloop",
        description="Answers with the production model and records every answer.",
        lifespan=_lifespan(
            follower, queue, metrics, process.connections, explanations, served, shadow
        ),
        # FastAPI's own pages load their scripts from the internet.
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(Refusal, _answer_refusal)
    routers = [
        build_router(production, records, record_first, metrics, max_rows=max_rows),
        explain.build_router(explanations, FAULTS),
        mlflow.build_router(predictor, max_rows=max_rows),
        v2.build_router(predictor, max_rows=max_rows),
        what_was_live.build_router(live),
    ]
    predict = Route(endpoint.path, endpoint, methods=["POST"], include_in_schema=False)
    app.router.routes.insert(0, predict)
    for router in routers:
        app.include_router(router)
    add_documentation_page(app)
    add_front_page(app, page_url)
    app.guard(metrics, Guard(limits, keys, hosts, use_case=use_case), _find_paths(app, routers))
    app.add_fast_path(endpoint.path, endpoint)

    described = APIRouter()
    describe_predict(described)
    document_live_model(app, production, described, keys)
    return app


def _lifespan(
    follower: Follower,
    queue: RecordQueue,
    metrics: Metrics,
    connections: Connections,
    explanations: explain.Explanations,
    served: ServedNotes,
    shadow: LiveShadow | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """What runs beside the requests, from the start of the app to its end."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # Before the first request: a worker without a model must not take requests that another
        # worker could answer.
        await run_in_threadpool(follower.follow_once)
        follower.start()
        queue.start()
        if shadow is not None:
            shadow.start()
        refreshing = asyncio.create_task(_refresh(metrics, connections, served))
        try:
            yield {"connections": connections}  # for the server's protocol
        finally:
            refreshing.cancel()
            follower.stop()
            await run_in_threadpool(explanations.close)
            await run_in_threadpool(served.write_all)
            if shadow is not None:
                await run_in_threadpool(shadow.close)
            await run_in_threadpool(queue.close)  # records everything it accepted

    return lifespan


async def _refresh(metrics: Metrics, connections: Connections, served: ServedNotes) -> None:
    while True:
        metrics.refresh()
        connections.close_overdue()
        if served.due:
            await run_in_threadpool(served.write)
        await asyncio.sleep(_REFRESH_SECONDS)


def _find_paths(app: FastAPI, routers: list[APIRouter]) -> frozenset[str]:
    routes = chain(app.routes, *(router.routes for router in routers))
    return frozenset(path for route in routes if (path := getattr(route, "path", None)))


async def _answer_refusal(_request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    return answer_refusal(refusal)
