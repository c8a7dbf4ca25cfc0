"""The routes of the Open Inference Protocol, version 2 (KServe, Triton)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version as version_of
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Scope

from api.guard.limits import is_trusted
from api.model.answer import Answered, LoadedModel
from api.model.arrow_answer import write_arrow
from api.predict.predictor import SMALL, Predictor
from api.protocols import v2_answers as answers
from api.protocols import v2_outputs as outputs
from api.protocols.columns import read_table
from api.protocols.errors import describe_refusal, route_with_refusals
from api.protocols.v2_inputs import read_inputs
from api.protocols.v2_tensors import parse_request
from api.refusal import Refusal, show
from api.rows.arrow import ARROW_CONTENT, MEDIA_TYPE, is_arrow, read_arrow
from api.rows.rows import Rows

_Handler = Callable[[Request], Awaitable[Response]]
BINARY, HEADER_LENGTH = "application/octet-stream", "Inference-Header-Content-Length"
_BYTES_BEHIND = {
    HEADER_LENGTH: {
        "description": "length of the JSON when values follow it as bytes",
        "schema": {"type": "integer"},
    }
}


def _fault(description: str) -> dict[str, Any]:
    return {"model": answers.InferenceFault, "description": description}


_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: _fault("Not the model or version that answers"),
    503: _fault("No model yet"),
}
_INFER: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}, **ARROW_CONTENT},
        "headers": _BYTES_BEHIND,
        "description": "The outputs",
    },
    400: _fault("An invalid tensor, named"),
    404: _UNKNOWN[404],
    413: _fault("Too many rows in one request"),
    415: _fault("A body compressed otherwise than with gzip or deflate"),
    503: _fault("No model, or no store for the record"),
}
_IN_PATH = {"in": "path", "required": True, "schema": {"type": "string"}}
_NAMED = {"parameters": [{"name": "name", **_IN_PATH}]}
_VERSIONED = {"parameters": [*_NAMED["parameters"], {"name": "version", **_IN_PATH}]}


def build_router(predictor: Predictor, *, max_rows: int) -> APIRouter:
    """The routes under /v2."""
    router = APIRouter(
        prefix="/v2", route_class=route_with_refusals(_refuse), tags=["Open Inference Protocol v2"]
    )
    _add_server_routes(router, predictor)

    def find(request: Request) -> LoadedModel:
        return _find(predictor, **request.path_params)

    async def metadata(request: Request) -> Response:
        return JSONResponse(outputs.describe_model(find(request)))

    async def model_ready(request: Request) -> Response:
        name = find(request).facts.name
        _refuse_unready(predictor, request.scope)
        return JSONResponse({"name": name, "ready": True})

    async def infer(request: Request) -> Response:
        body, length = await request.body(), request.headers.get(HEADER_LENGTH)
        model = find(request)
        id: str | None = None
        chosen: dict[str, bool] = {}

        if is_arrow(body):
            content = await predictor.answer(
                model,
                lambda: _read_arrow(body, model, max_rows),
                write_arrow,
                large=True,
            )
            return Response(content, media_type=MEDIA_TYPE)

        def read() -> Rows:
            nonlocal id, chosen
            asked, raw = parse_request(body, length)
            id, chosen = asked.id, outputs.choose_outputs(asked)
            return read_table(model, read_inputs(asked, raw, model.use_case), max_rows)

        def write(answered: Answered) -> Response:
            content, head = outputs.encode_answer(answered, id, chosen)
            if head is None:
                return Response(content, media_type="application/json")
            return Response(content, headers={HEADER_LENGTH: str(head)}, media_type=BINARY)

        return await predictor.answer(model, read, write, large=len(body) > SMALL)

    _add_model_routes(router, metadata, model_ready, infer)
    return router


def _add_model_routes(
    router: APIRouter, metadata: _Handler, model_ready: _Handler, infer: _Handler
) -> None:
    # Documented here, not declared by the functions: FastAPI would promise a 422 that never comes.
    for path, documented in (
        ("/models/{name}", _NAMED),
        ("/models/{name}/versions/{version}", _VERSIONED),
    ):
        router.add_api_route(
            path,
            metadata,
            response_model=answers.MetadataAnswer,
            responses=_UNKNOWN,
            openapi_extra=documented,
            summary="Inputs, outputs and classes of the model",
        )
        router.add_api_route(
            f"{path}/ready",
            model_ready,
            response_model=answers.ModelReadyAnswer,
            responses=_UNKNOWN,
            openapi_extra=documented,
            summary="Can the model answer?",
        )
        router.add_api_route(
            f"{path}/infer",
            infer,
            methods=["POST"],
            response_model=answers.InferAnswer,
            responses=_INFER,
            openapi_extra=documented,
            summary="Predict rows, sent as tensors",
        )


def _add_server_routes(router: APIRouter, predictor: Predictor) -> None:
    @router.get("", response_model=answers.ServerAnswer, summary="The server and its extensions")
    async def server() -> Response:
        return JSONResponse(
            {
                "name": "closedloop",
                "version": version_of("closedloop"),
                "extensions": ["binary_tensor_data"],
            }
        )

    @router.get("/health/live", response_model=answers.LiveAnswer, summary="Is the process alive?")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get(
        "/health/ready",
        response_model=answers.ServerReadyAnswer,
        responses={503: _fault("The reason why not")},
        summary="Can the service answer?",
    )
    async def ready(request: Request) -> Response:
        _refuse_unready(predictor, request.scope)
        return JSONResponse({"ready": True})


def _find(predictor: Predictor, name: str, version: str | None = None) -> LoadedModel:
    """The live model. Raises Refusal 404 for another model or version, 503 while there is none."""
    model = predictor.model
    if name != model.facts.name:
        raise Refusal(
            404,
            f"model {show(name)}: wanted {model.facts.name}, the only model here, got another name",
        )
    if version is not None and version != str(model.version):
        raise Refusal(
            404,
            f"version {show(version)} of {name}: wanted {model.version}, the live version, "
            "got another",
        )
    return model


def _refuse_unready(predictor: Predictor, scope: Scope) -> None:
    if (obstacle := predictor.explain(full=is_trusted(scope))) is not None:
        raise Refusal(503, obstacle)


def _read_arrow(body: bytes, model: LoadedModel, max_rows: int) -> Rows:
    try:
        return read_arrow(body, model.use_case, model.reader, max_rows)
    except Refusal as refusal:
        # This protocol says 400 to what is invalid.
        status = 400 if refusal.status == 422 else refusal.status
        raise Refusal(status, describe_refusal(refusal)) from None


def _refuse(refusal: Refusal) -> Response:
    return JSONResponse({"error": describe_refusal(refusal)}, refusal.status, refusal.headers)
