"""The OpenAPI page: the request that the live model takes, with one of its own rows as the example."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from api.messages import LabelsMessage
from api.model import LoadedModel, Production
from api.protocol_pages import describe_protocols

_ANY_ROW = {"title": "Row", "type": "object", "description": "Feature name -> number, text or null. The live model names them here.",
            "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}}  # fmt: skip


def follow_model(app: FastAPI, production: Production, described: APIRouter) -> None:
    """Make the app document the model that answers when the page is asked for; any row while there is none.

    `described` are routes that the app answers by other means than FastAPI's.
    """
    written: dict[int | None, dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        current = production.current
        version = current.version if current else None
        if version not in written:
            written.clear()
            written[version] = _write(app, current, described)
        return written[version]

    app.openapi = openapi  # type: ignore[method-assign]


def _write(app: FastAPI, model: LoadedModel | None, described: APIRouter) -> dict[str, Any]:
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=[*described.routes, *app.routes])
    schemas = page["components"]["schemas"]
    labels = LabelsMessage.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(labels.pop("$defs"), LabelsMessage=labels, Row=_row_schema(model))
    row = {"$ref": "#/components/schemas/Row"}
    schemas["Rows"] = {"title": "Rows", "type": "object", "required": ["rows"], "additionalProperties": False,
                       "properties": {"rows": {"type": "array", "minItems": 1, "items": row}}}  # fmt: skip
    example = _example(model)
    page["paths"]["/predict"]["post"]["requestBody"] = _body(
        {"anyOf": [{"$ref": "#/components/schemas/Rows"}, row]}, {"many": {"value": {"rows": [example]}}, "one": {"value": example}}
    )
    label = model.facts.classes[-1] if model else "True"
    page["paths"]["/labels"]["post"]["requestBody"] = _body(
        {"$ref": "#/components/schemas/LabelsMessage"}, {"by id": {"value": {"labels": [{"id": "the id of a prediction", "label": label}]}}}
    )
    describe_protocols(page, model, example)
    return page


def _body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}


def _row_schema(model: LoadedModel | None) -> dict[str, Any]:
    return _ANY_ROW if model is None else model.row_type.model.model_json_schema(by_alias=True)


def _example(model: LoadedModel | None) -> dict[str, Any]:
    if model is None:
        return {"feature": 1.5}
    return model.scorer.example or dict.fromkeys(model.use_case.columns)
