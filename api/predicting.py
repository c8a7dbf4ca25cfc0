"""POST /predict, the hot path: decode, pack, compute, record, encode, with nothing in between.

A plain ASGI endpoint inside the app; its documentation is written in `routes.py` as for any other route.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.decoding import Rows
from api.diary import Diary
from api.messages import Refusal
from api.metrics import Metrics
from api.model import Answer, LoadedModel, Production
from closedloop.records import Prediction, make_prediction_ids

_LOG = logging.getLogger("closedloop.service")
SMALL = 32_768  # bytes; a larger body is worth a thread, so that it does not hold up the others
_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows with the answers of the one model that answered all of them."""

    model: LoadedModel
    ids: list[str]
    answers: list[Answer]
    predictions: list[Prediction]


class Predictor:
    """Answers rows with the production model, records them, counts them. Every protocol answers through it."""

    def __init__(self, production: Production, diary: Diary, metrics: Metrics) -> None:
        self._production, self._diary, self._metrics = production, diary, metrics

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
        await self._diary.record(answered.predictions)
        self._count(answered)
        if in_thread:
            await run_in_threadpool(self._metrics.features.count, answered)
        else:
            self._metrics.features.count(answered)
        return answered

    def _count(self, answered: Answered) -> None:
        version = str(answered.model.version)
        for prediction, rows in Counter(one.prediction for one in answered.answers).items():
            self._metrics.predictions.labels(version, prediction).inc(rows)
        warned = sum(bool(one.warnings) for one in answered.answers)
        if warned:
            self._metrics.warnings.inc(warned)


class PredictEndpoint:
    """The ASGI endpoint of /predict."""

    path = "/predict"

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        self._predictor, self._max_rows = predictor, max_rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        model, large = self._predictor.model, len(body) > SMALL
        if large:
            rows = await run_in_threadpool(model.reader.read, body, self._max_rows)
        else:
            rows = model.reader.read(body, self._max_rows)
        answered = await self._predictor.answer(model, rows, in_thread=large)
        content = await run_in_threadpool(_encode, answered) if large else _encode(answered)
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
        answers = model.answer(rows)
    except Exception as error:
        _LOG.exception("version %s could not answer %s rows", model.version, len(rows))
        raise Refusal(503, f"version {model.version} could not answer these rows: {type(error).__name__}: {error}") from error
    ids, name, version = make_prediction_ids(len(rows)), model.use_case.name, model.version
    predictions = [
        Prediction(id, name, version, key, features, answer.probabilities, answer.prediction)
        for id, key, features, answer in zip(ids, rows.keys, model.name_features(rows), answers, strict=True)
    ]
    return Answered(model, ids, answers, predictions)


def _encode(answered: Answered) -> bytes:
    predictions: list[dict[str, Any]] = [
        {"id": id, "prediction": answer.prediction, "probabilities": answer.probabilities, "warnings": answer.warnings}
        for id, answer in zip(answered.ids, answered.answers, strict=True)
    ]
    model = answered.model
    return msgspec.json.encode({"model": model.facts.name, "version": model.version, "predictions": predictions})
