"""The OpenAPI page: the requests that the live model takes, with one of its rows as example."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from api.documentation_page import HEADERS, render_page
from api.guard.keys import Keys
from api.guard.limits import MONITORING_PATHS, OPEN_PATHS
from api.model.answer import LoadedModel
from api.model.live import Production
from api.protocols.openapi import describe_protocols
from api.requests import LabelsMessage
from api.rows.arrow import ARROW_CONTENT

_ANY_ROW = {
    "title": "Row",
    "type": "object",
    "description": "Feature -> number, text or null. With a live model, its features are listed.",
    "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]},
}


def document_live_model(
    app: FastAPI, production: Production, described: APIRouter, keys: Keys | None
) -> None:
    """Make the app document the model that is live when the page is asked for.

    `described` has the routes that are not answered by FastAPI. Keys are documented while requests
    need one.
    """
    written: dict[tuple[int | None, bool], dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        current = production.current
        state = (current.version if current else None, keys is not None and keys.wanted)
        if state not in written:
            written.clear()
            written[state] = _write(app, current, described)
            _add_limits(written[state], with_keys=state[1])
        return written[state]

    app.openapi = openapi  # type: ignore[method-assign]


def add_documentation_page(app: FastAPI) -> None:
    """Answer /docs with the document of the moment as a page."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        page = render_page(app.openapi(), str(request.base_url).rstrip("/"))
        return HTMLResponse(page, headers=HEADERS)


def _write(app: FastAPI, model: LoadedModel | None, described: APIRouter) -> dict[str, Any]:
    page = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=[*described.routes, *app.routes],
    )
    schemas = page["components"]["schemas"]
    labels = LabelsMessage.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(labels.pop("$defs"), LabelsMessage=labels, Row=_row_schema(model))
    row = {"$ref": "#/components/schemas/Row"}
    schemas["Rows"] = {
        "title": "Rows",
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {"rows": {"type": "array", "minItems": 1, "items": row}},
    }
    example = _example(model)
    for path in ("/predict", "/explain"):
        page["paths"][path]["post"]["requestBody"] = _body(
            {"anyOf": [{"$ref": "#/components/schemas/Rows"}, row]},
            {"many": {"value": {"rows": [example]}}, "one": {"value": example}},
        )
    predict = page["paths"]["/predict"]["post"]
    predict["requestBody"]["content"] |= ARROW_CONTENT
    predict["responses"]["200"]["content"] |= ARROW_CONTENT
    label = model.facts.classes[-1] if model else "True"
    named: dict[str, dict[str, Any]] = {
        "by id": {"id": "the id of a prediction"},
        "by key": {"key": "the key of a row"},
        "by key and time": {"key": "the key of a row", "at": "2026-11-20T12:00:00Z"},
        "a correction": {"key": "the key of a row", "replaces": True},
    }
    page["paths"]["/labels"]["post"]["requestBody"] = _body(
        {"$ref": "#/components/schemas/LabelsMessage"},
        {how: {"value": {"labels": [{**name, "label": label}]}} for how, name in named.items()},
    )
    describe_protocols(page, model, example)
    return page


def _add_limits(page: dict[str, Any], *, with_keys: bool) -> None:
    """Document what the guard may answer, at every route behind it."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    busy = {"description": "Too many open requests, or out of time", "content": error}
    if with_keys:
        page["components"]["securitySchemes"] = {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A key from: closedloop key add NAME",
            },
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    for path, operations in page["paths"].items():
        for operation in operations.values() if path not in OPEN_PATHS else ():
            answers = operation["responses"]
            if with_keys:
                operation["security"] = [{"bearer": []}, {"header": []}]
                answers["401"] = {
                    "description": "No key, or an unknown one",
                    "content": error,
                    "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
                }
                if operation is operations.get("post"):
                    refused = {"description": "The key of a viewer", "content": error}
                    answers.setdefault("403", refused)
            if path not in MONITORING_PATHS:
                after = {
                    "description": "Seconds to wait, where a retry helps",
                    "schema": {"type": "integer"},
                }
                answers.setdefault("503", dict(busy))["headers"] = {"Retry-After": after}
            if "requestBody" in operation:
                answers.setdefault(
                    "413", {"description": "Too many bytes in one request", "content": error}
                )


def _body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": examples}},
    }


def _row_schema(model: LoadedModel | None) -> dict[str, Any]:
    return _ANY_ROW if model is None else model.row_type.model.model_json_schema(by_alias=True)


def _example(model: LoadedModel | None) -> dict[str, Any]:
    if model is None:
        return {"feature": 1.5}
    return model.loaded.example or dict.fromkeys(model.use_case.columns)
