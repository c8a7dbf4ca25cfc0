"""POST /predict, the hot path: decode, pack, compute, record, encode, with nothing in between.

A plain ASGI endpoint inside the app; its documentation is written in `routes.py` as for any other route.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import Counter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.answering import Answered
from api.diary import Diary
from api.messages import Refusal
from api.metrics import Metrics
from api.model import LoadedModel, Production
from api.rows import Rows

_LOG = logging.getLogger("closedloop.service")
SMALL = 32_768  # bytes; a larger body is worth a thread, so that it does not hold up the others
_JSON = (b"content-type", b"application/json")


class Predictor:
    """Answers rows with the production model, records them, counts them. Every protocol answers through it."""

    def __init__(self, production: Production, diary: Diary, metrics: Metrics) -> None:
        self._production, self._diary, self._metrics = production, diary, metrics
        self._counters: dict[tuple[int, int], Counter] = {}

    @property
    def model(self) -> LoadedModel:
        """The model that answers now. Raises Refusal 503 while there is none."""
        return live_model(self._production)

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be answered now, None when it can."""
        if self._production.current is None:
            return self._production.reason or "no model is loaded"
        return None if self._diary.obstacle is None else f"answers cannot be recorded: {self._diary.obstacle}"

    async def answer(self, model: LoadedModel, rows: Rows, *, in_thread: bool = False) -> Answered:
        """The rows answered by `model` and recorded. Raises Refusal 503 when either failed."""
        if in_thread or not model.scorer.quick:
            answered = await run_in_threadpool(_compute, model, rows)
        else:
            answered = _compute(model, rows)
        await self.keep(answered)
        return answered

    async def keep(self, answered: Answered) -> None:
        """Record and count; what is answered before is not yet to be said. Raises Refusal 503 when it cannot be recorded."""
        await self._diary.record(answered.record)
        version, best, classes = answered.model.version, answered.best, answered.model.facts.classes
        for number in set(best):
            counter = self._counters.get((version, number))
            if counter is None:
                counter = self._counters[version, number] = self._metrics.predictions.labels(str(version), classes[number])
            counter.inc(best.count(number))
        if answered.warnings:
            self._metrics.warnings.inc(len(answered.warnings))
        self._metrics.features.count(answered)


class PredictEndpoint:
    """The ASGI endpoint of /predict."""

    path = "/predict"

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        self._predictor, self._max_rows = predictor, max_rows
        # One: several would only take turns with Python's lock, and each turn costs.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer-large")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        model = self._predictor.model
        if len(body) > SMALL:
            loop = asyncio.get_running_loop()
            answered, content = await loop.run_in_executor(self._thread, _answer_whole, model, body, self._max_rows)
            await self._predictor.keep(answered)
        else:
            answered = await self._predictor.answer(model, model.reader.read(body, self._max_rows))
            content = answered.encode()
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON, (b"content-length", str(len(content)).encode())]})
        await send({"type": "http.response.body", "body": content})


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnect when the client left before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        return whole
    parts: list[bytes] = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise ClientDisconnect


def live_model(production: Production) -> LoadedModel:
    """Raises Refusal 503 while nothing answers."""
    current = production.current
    if current is None:
        raise Refusal(503, production.reason or "no model is loaded: ask again in a moment")
    return current


def _compute(model: LoadedModel, rows: Rows) -> Answered:
    """Raises Refusal 503 for rows that keep to the contract and that the model fails on all the same."""
    try:
        return model.answer(rows)
    except Exception as error:
        _LOG.exception("version %s could not answer %s rows", model.version, len(rows))
        raise Refusal(503, f"version {model.version} could not answer these rows: {type(error).__name__}: {error}") from error


def _answer_whole(model: LoadedModel, body: bytes, max_rows: int) -> tuple[Answered, bytes]:
    """All that a large request needs, in one visit to a thread; its record is written down there, too."""
    answered = _compute(model, model.reader.read(body, max_rows))
    _ = answered.record
    return answered, answered.encode()
