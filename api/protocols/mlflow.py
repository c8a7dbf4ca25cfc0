"""MLflow's scoring protocol: what a client of `mlflow models serve` sends and expects, answered and
recorded as /predict does."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from api.model.answer import Answered, LoadedModel
from api.predict.predictor import SMALL, Predictor
from api.protocols.columns import MissingColumn, read_table
from api.protocols.errors import route_that_says, say_all
from api.protocols.mlflow_bodies import read_csv_table, read_json_table
from api.refusal import Refusal
from api.rows.rows import Rows

JSON, CSV = "application/json", "text/csv"
MOST_IDS = 100  # in a header: some four kilobytes, half of what servers commonly take
_CODES = {413: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}


class InvocationsAnswer(BaseModel):
    predictions: list[list[float]] = Field(
        description="per row one probability for each class, in the order that /model lists them"
    )


class InvocationsFault(BaseModel):
    error_code: str
    message: str


_HEADERS = {
    "X-Closedloop-Version": {
        "description": "the version that answered",
        "schema": {"type": "string"},
    },
    "X-Closedloop-Prediction-Ids": {
        "description": f"one id per row, joined by commas, for /labels; up to {MOST_IDS} rows",
        "schema": {"type": "string"},
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "One list of probabilities per row", "headers": _HEADERS},
    400: {
        "model": InvocationsFault,
        "description": "What cannot be accepted, column and row named",
    },
    413: {"model": InvocationsFault, "description": "Too many rows for one request"},
    415: {
        "description": "A content type other than JSON or CSV in UTF-8",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
    503: {"model": InvocationsFault, "description": "No model, or nothing to record the answer in"},
}
# MLflow says application/json to a line break and to a bare version; whoever relies on it finds the
# same here.
_BARE: dict[str, Any] = {"content": {JSON: {}}}


def build_router(predictor: Predictor, *, max_rows: int) -> APIRouter:
    """`POST /invocations`, `GET /ping` and `GET /version`."""
    router = APIRouter(route_class=route_that_says(_say), tags=["MLflow scoring protocol"])

    def read(model: LoadedModel, form: str, body: bytes) -> Rows:
        rows = model.table_reader.read(body, max_rows) if form == JSON else None
        if rows is not None:
            return rows
        read_form = read_csv_table if form == CSV else read_json_table
        return read_table(model, read_form(body, model.use_case, max_rows), max_rows)

    @router.post(
        "/invocations",
        response_model=InvocationsAnswer,
        responses=_ANSWERS,
        summary="Predict as `mlflow models serve` does",
    )
    async def invocations(request: Request) -> Response:
        form, refused = _read_content_type(request.headers.get("content-type", ""))
        if refused:
            return PlainTextResponse(refused, 415)
        body = await request.body()
        model = predictor.model
        return await predictor.answer(
            model, lambda: read(model, form, body), _encode, large=len(body) > SMALL
        )

    @router.get(
        "/ping",
        summary="Can it answer?",
        response_class=Response,
        responses={200: _BARE, 404: {**_BARE, "description": "No"}},
    )
    async def ping() -> Response:
        return Response("\n", 200 if predictor.obstacle is None else 404, media_type=JSON)

    @router.get(
        "/version", summary="MLflow's version", response_class=Response, responses={200: _BARE}
    )
    async def version() -> Response:
        return Response(version_of("mlflow"), media_type=JSON)

    return router


def _read_content_type(header: str) -> tuple[str, str | None]:
    """JSON or CSV, and why nothing else is taken; None when it is one of the two."""
    form, *parameters = (part.strip().lower() for part in header.split(";"))
    if form not in (JSON, CSV):
        return form, f"wanted the content type {JSON} or {CSV}, got {header[:80]!r}"
    strange = [one for one in parameters if one not in ("", "charset=utf-8", 'charset="utf-8"')]
    return (
        form,
        f"wanted no parameter but charset=utf-8, got {strange[0][:80]!r}" if strange else None,
    )


def _encode(answered: Answered) -> Response:
    headers = {"X-Closedloop-Version": str(answered.model.version)}
    if len(answered.best) <= MOST_IDS:
        headers["X-Closedloop-Prediction-Ids"] = ",".join(answered.ids)
    predictions = list(zip(*answered.shares, strict=True))
    return Response(
        msgspec.json.encode({"predictions": predictions}), headers=headers, media_type=JSON
    )


def _say(refusal: Refusal) -> Response:
    code = (
        "INVALID_PARAMETER_VALUE"
        if isinstance(refusal, MissingColumn)
        else _CODES.get(refusal.status, "BAD_REQUEST")
    )
    content = msgspec.json.encode({"error_code": code, "message": say_all(refusal)})
    return Response(content, refusal.status, refusal.headers, JSON)
