"""What the Open Inference Protocol answers: the outputs that were asked for, as JSON or as bytes
after it, and what a model is."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec
import numpy as np
from pydantic import BaseModel, Field

from api.model.answer import Answered, LoadedModel
from api.protocols.v2_inputs import packed_columns
from api.protocols.v2_tensors import BYTES, InferRequest, write_texts
from api.refusal import Refusal, show
from closedloop.use_case.contract import UseCase

PROBABILITIES, PREDICTION = "probabilities", "prediction"
_PLATFORMS = {"onnx": "onnxruntime_onnx", "pipeline": "sklearn_skops"}


class ServerAnswer(BaseModel):
    name: str
    version: str
    extensions: list[str]


class LiveAnswer(BaseModel):
    live: bool


class ServerReadyAnswer(BaseModel):
    ready: bool


class ModelReadyAnswer(BaseModel):
    name: str
    ready: bool


class TensorAnswer(BaseModel):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1 stands for the number of rows")


class MetadataParameters(BaseModel):
    classes: list[str] = Field(description=f"what the columns of `{PROBABILITIES}` stand for")
    key: str | None = Field(
        description="an input that may be sent as well: it names the rows, so that their labels can be sent by it"
    )
    packed: dict[str, list[str]] = Field(
        description="inputs that may be sent instead, with the columns that they hold"
    )


class MetadataAnswer(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorAnswer]
    outputs: list[TensorAnswer]
    parameters: MetadataParameters


class OutputAnswer(TensorAnswer):
    data: list[Any] = Field(
        [], description="row by row; missing where the values follow the JSON as bytes"
    )
    parameters: dict[str, int] = Field({}, description="`binary_data_size` where they do")


class InferAnswerParameters(BaseModel):
    model_version: str
    prediction_ids: str = Field(description="one per row, joined by commas, for /labels")


class InferAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str = Field("", description="as in the request, where it had one")
    parameters: InferAnswerParameters
    outputs: list[OutputAnswer]


class InferenceFault(BaseModel):
    error: str


def describe_model(model: LoadedModel) -> dict[str, Any]:
    """The metadata of a model, in the form of MetadataAnswer."""
    use_case, classes = model.use_case, model.facts.classes
    inputs = [
        {"name": name, "datatype": _datatype(use_case, name), "shape": [-1]}
        for name in use_case.columns
    ]
    outputs = [
        {"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(classes)]},
        {"name": PREDICTION, "datatype": BYTES, "shape": [-1]},
    ]
    return {
        "name": model.facts.name,
        "versions": [str(model.version)],
        "platform": _PLATFORMS[model.scorer.served_by],
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {"classes": classes, "key": use_case.key, "packed": packed_columns(use_case)},
    }


def _datatype(use_case: UseCase, name: str) -> str:
    return "FP64" if name in use_case.numeric else BYTES


def choose_outputs(request: InferRequest) -> dict[str, bool]:
    """The outputs to answer with, in order, and whether as bytes. Raises Refusal 400 for one that
    is not offered."""
    as_bytes = request.parameters.binary_data_output
    chosen: dict[str, bool] = {}
    for one in request.outputs:
        if one.name not in (PROBABILITIES, PREDICTION):
            raise Refusal(
                400,
                f"output {show(one.name)}: wanted {PROBABILITIES} or {PREDICTION}, got another name",
            )
        if one.parameters.classification or one.parameters.shared_memory_region is not None:
            asked = "classification" if one.parameters.classification else "shared memory"
            raise Refusal(
                400,
                f"output {one.name}: wanted the parameter binary_data at most, got {asked}, which is not offered",
            )
        chosen[one.name] = (
            as_bytes if one.parameters.binary_data is None else one.parameters.binary_data
        )
    return chosen or {PROBABILITIES: as_bytes, PREDICTION: as_bytes}


def encode_answer(
    answered: Answered, id: str | None, chosen: dict[str, bool]
) -> tuple[bytes, int | None]:
    """The body, and how many bytes of it are JSON when others follow it."""
    rows, classes = len(answered.best), answered.model.facts.classes
    outputs, behind = [], b""
    for name, as_bytes in chosen.items():
        if name == PROBABILITIES:
            shares = list(chain.from_iterable(zip(*answered.shares, strict=True)))
            output: dict[str, Any] = {
                "name": name,
                "datatype": "FP64",
                "shape": [rows, len(classes)],
            }
            written, listed = np.array(shares, "<f8").tobytes() if as_bytes else b"", shares
        else:
            predictions = [classes[best] for best in answered.best]
            output = {"name": name, "datatype": BYTES, "shape": [rows]}
            written, listed = write_texts(predictions) if as_bytes else b"", predictions
        output |= (
            {"parameters": {"binary_data_size": len(written)}} if as_bytes else {"data": listed}
        )
        outputs.append(output)
        behind += written
    version = str(answered.model.version)
    head = {
        "model_name": answered.model.facts.name,
        "model_version": version,
        **({} if id is None else {"id": id}),
        "parameters": {"model_version": version, "prediction_ids": ",".join(answered.ids)},
        "outputs": outputs,
    }
    written_head = msgspec.json.encode(head)
    return written_head + behind, len(written_head) if any(chosen.values()) else None
