"""POST /predict: decode, pack, compute, record, encode, and nothing in between.

A plain ASGI endpoint, because FastAPI's layers take longer than a model. `routes.py` documents it.
"""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.model.arrow_answer import write_arrow
from api.predict.batcher import Batcher
from api.predict.predictor import SMALL, Predictor
from api.rows.arrow import MEDIA_TYPE, is_arrow, read_arrow

_JSON = (b"content-type", b"application/json")
_ARROW = (b"content-type", MEDIA_TYPE.encode())


class PredictEndpoint:
    """The ASGI endpoint of /predict."""

    path = "/predict"

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        self._predictor, self._max_rows = predictor, max_rows
        self._batcher = Batcher(predictor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        model, kind = self._predictor.model, _JSON
        if is_arrow(body):
            kind = _ARROW
            content = await self._predictor.answer(
                model,
                lambda: read_arrow(body, model.use_case, model.reader, self._max_rows),
                write_arrow,
                large=True,
            )
        elif len(body) > SMALL:
            content = await self._predictor.answer(
                model,
                lambda: model.reader.read(body, self._max_rows),
                lambda answered: answered.encode(),
                large=True,
            )
        else:
            rows = model.reader.read(body, self._max_rows)
            answered, first = await self._batcher.answer(model, rows)
            content = answered.encode(first, len(rows))
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [kind, (b"content-length", str(len(content)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": content})


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnect when the client leaves before its end."""
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
