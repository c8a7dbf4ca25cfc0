"""The protocols' requests on the OpenAPI page, with examples that the live model accepts."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from api.model.answer import LoadedModel
from api.protocols.v2_tensors import BYTES, InferRequest
from api.requests import MAX_NUMBER
from api.rows.arrow import ARROW_CONTENT

_VALUE: dict[str, Any] = {
    "anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "null"}]
}
_NUMBER = {"type": ["number", "null"], "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
_TEXT = {"type": ["string", "boolean", "integer", "null"]}
_RECORDS = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Record"}}
_COLUMNS = {
    "type": "object",
    "additionalProperties": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE}]},
}
_SPLIT = {
    "type": "object",
    "required": ["columns", "data"],
    "additionalProperties": False,
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "minItems": 1, "items": {"type": "array", "items": _VALUE}},
        "index": {"type": ["array", "null"]},
    },
}
_TENSORS = {"anyOf": [_COLUMNS, _RECORDS, {"type": "array", "minItems": 1, "items": _VALUE}]}
_FORMS = {
    "dataframe_split": _SPLIT,
    "dataframe_records": _RECORDS,
    "instances": _TENSORS,
    "inputs": _TENSORS,
}


def describe_protocols(
    page: dict[str, Any], model: LoadedModel | None, row: Mapping[str, Any]
) -> None:
    """Add the request bodies of /invocations and /v2 to `page`; `row` is the example."""
    schemas = page["components"]["schemas"]
    schemas["Record"] = _describe_record(model)
    schemas["Invocation"] = {
        "title": "Invocation",
        "oneOf": [
            {"type": "object", "required": [form], "properties": {form: schema}}
            for form, schema in _FORMS.items()
        ],
    }
    infer = InferRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(infer.pop("$defs"), InferRequest=infer)
    page["paths"]["/invocations"]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Invocation"},
                "examples": _mlflow_examples(row),
            },
            "text/csv": {"schema": {"type": "string"}, "example": _write_csv(row)},
        },
    }
    for path, operations in page["paths"].items():
        if "{name}" in path and model is not None:
            _name_model(operations, model)
        if path.endswith("/infer"):
            operations["post"]["requestBody"] = {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/InferRequest"},
                        "examples": {"a tensor per column": {"value": _v2_example(model, row)}},
                    },
                    **ARROW_CONTENT,
                },
            }


def _describe_record(model: LoadedModel | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "title": "Record",
        "type": "object",
        "description": "Column -> value; unknown columns are ignored.",
    }
    if model is not None:
        described["required"] = list(model.use_case.required)
        described["properties"] = {
            name: _NUMBER if name in model.use_case.numeric else _TEXT
            for name in model.use_case.columns
        }
    return described


def _name_model(operations: dict[str, Any], model: LoadedModel) -> None:
    """Name the only model and version that these paths have."""
    only = {"name": model.facts.name, "version": str(model.version)}
    for operation in operations.values():
        operation["parameters"] = [
            {**parameter, "schema": {**parameter["schema"], "enum": [only[parameter["name"]]]}}
            for parameter in operation["parameters"]
        ]


def _mlflow_examples(row: Mapping[str, Any]) -> dict[str, Any]:
    columns = {name: [value] for name, value in row.items()}
    return {
        form: {"value": {form: content}}
        for form, content in {
            "dataframe_split": {"columns": list(row), "data": [list(row.values())]},
            "dataframe_records": [row],
            "instances": [row],
            "inputs": columns,
        }.items()
    }


def _write_csv(row: Mapping[str, Any]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([row.keys(), row.values()])
    return written.getvalue()


def _v2_example(model: LoadedModel | None, row: Mapping[str, Any]) -> dict[str, Any]:
    texts = () if model is None else model.use_case.categorical
    return {
        "inputs": [
            {
                "name": name,
                "shape": [1],
                "datatype": BYTES if name in texts else "FP64",
                "data": [value],
            }
            for name, value in row.items()
        ]
    }
