"""POST /predict, the hot path: decode, pack, compute, record, encode, with nothing in between.

A plain ASGI endpoint beside the app's routes; its documentation is written in `routes.py` as for any other route.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.answering import Answered
from api.batching import Batcher
from api.model import LoadedModel
from api.packing import MANY
from api.predicting import Predictor, compute_answers

SMALL = 32_768  # bytes; a larger body is worth a thread, so that it does not hold up the others
_JSON = (b"content-type", b"application/json")


class PredictEndpoint:
    """The ASGI endpoint of /predict."""

    path = "/predict"

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        self._predictor, self._max_rows = predictor, max_rows
        self._batcher = Batcher(predictor)
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
            rows = model.reader.read(body, self._max_rows)
            if len(rows) < MANY:
                answered, first = await self._batcher.answer(model, rows)
                content = answered.encode(first, len(rows))
            else:
                content = (await self._predictor.answer(model, rows)).encode()
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


def _answer_whole(model: LoadedModel, body: bytes, max_rows: int) -> tuple[Answered, bytes]:
    """All that a large request needs, in one visit to a thread; its record is written down there, too."""
    answered = compute_answers(model, model.reader.read(body, max_rows))
    _ = answered.record
    return answered, answered.encode()
