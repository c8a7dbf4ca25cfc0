"""MLflow's scoring protocol: the requests and answers of `mlflow models serve`."""

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
from api.protocols.csv_body import read_csv_table
from api.protocols.errors import describe_refusal, route_with_refusals
from api.protocols.mlflow_bodies import read_json_table
from api.refusal import Refusal
from api.rows.rows import Rows

JSON, CSV = "application/json", "text/csv"
MAX_IDS = 100  # in a header: about 4 kB, half of what servers usually accept
_CODES = {413: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}


class InvocationsAnswer(BaseModel):
    predictions: list[list[float]] = Field(
        description="for each row the probability of each class, in the order of /model"
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
        "description": f"one id per row for /labels, separated by commas; up to {MAX_IDS} rows",
        "schema": {"type": "string"},
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "One list of probabilities per row", "headers": _HEADERS},
    400: {
        "model": InvocationsFault,
        "description": "Invalid input, column and row named",
    },
    413: {"model": InvocationsFault, "description": "Too many rows in one request"},
    415: {
        "description": "Not JSON or CSV in UTF-8, or compressed otherwise than with gzip",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
    503: {"model": InvocationsFault, "description": "No model, or no store for the record"},
}
# MLflow sends a line break and a bare version as application/json, and so does this service.
_BARE: dict[str, Any] = {"content": {JSON: {}}}


def build_router(predictor: Predictor, *, max_rows: int) -> APIRouter:
    """`POST /invocations`, `GET /ping` and `GET /version`."""
    router = APIRouter(route_class=route_with_refusals(_refuse), tags=["MLflow scoring protocol"])

    def read(model: LoadedModel, form: str, body: bytes) -> Rows:
        rows = model.table_decoder.read(body, max_rows) if form == JSON else None
        if rows is not None:
            return rows
        read_form = read_csv_table if form == CSV else read_json_table
        return read_table(model, read_form(body, model.use_case, max_rows), max_rows)

    @router.post(
        "/invocations",
        response_model=InvocationsAnswer,
        responses=_ANSWERS,
        summary="Predict, as `mlflow models serve` does",
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
        summary="Can the service answer?",
        response_class=Response,
        responses={200: _BARE, 404: {**_BARE, "description": "No"}},
    )
    async def ping() -> Response:
        return Response("\n", 200 if predictor.obstacle is None else 404, media_type=JSON)

    @router.get(
        "/version", summary="Version of MLflow", response_class=Response, responses={200: _BARE}
    )
    async def version() -> Response:
        return Response(version_of("mlflow"), media_type=JSON)

    return router


def _read_content_type(header: str) -> tuple[str, str | None]:
    """The content type, and why it is refused; None for JSON and CSV."""
    form, *parameters = (part.strip().lower() for part in header.split(";"))
    if form not in (JSON, CSV):
        return form, f"wanted the content type {JSON} or {CSV}, got {header[:80]!r}"
    accepted = ("", "charset=utf-8", 'charset="utf-8"')
    refused = [parameter for parameter in parameters if parameter not in accepted]
    return (
        form,
        f"wanted no parameter except charset=utf-8, got {refused[0][:80]!r}" if refused else None,
    )


def _encode(answered: Answered) -> Response:
    headers = {"X-Closedloop-Version": str(answered.model.version)}
    if len(answered.best) <= MAX_IDS:
        headers["X-Closedloop-Prediction-Ids"] = ",".join(answered.ids)
    predictions = list(zip(*answered.shares, strict=True))
    return Response(
        msgspec.json.encode({"predictions": predictions}), headers=headers, media_type=JSON
    )


def _refuse(refusal: Refusal) -> Response:
    code = (
        "INVALID_PARAMETER_VALUE"
        if isinstance(refusal, MissingColumn)
        else _CODES.get(refusal.status, "BAD_REQUEST")
    )
    content = msgspec.json.encode({"error_code": code, "message": describe_refusal(refusal)})
    return Response(content, refusal.status, refusal.headers, JSON)
