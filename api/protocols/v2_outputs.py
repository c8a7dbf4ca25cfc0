"""The outputs of an inference request, as JSON or as bytes after it, and the model's metadata."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec
import numpy as np

from api.model.answer import Answered, LoadedModel
from api.protocols.v2_inputs import packed_columns
from api.protocols.v2_tensors import BYTES, InferRequest, write_texts
from api.refusal import Refusal, show
from closedloop.use_case.contract import UseCase

PROBABILITIES, PREDICTION = "probabilities", "prediction"
_PLATFORMS = {"onnx": "onnxruntime_onnx", "pipeline": "sklearn_skops"}


def describe_model(model: LoadedModel) -> dict[str, Any]:
    """The metadata of a model, as `v2_answers.MetadataAnswer` has it."""
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
    """Output -> whether it is sent as bytes, in order. Raises Refusal 400 for an unknown output."""
    as_bytes = request.parameters.binary_data_output
    chosen: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in (PROBABILITIES, PREDICTION):
            raise Refusal(
                400,
                f"output {show(output.name)}: wanted {PROBABILITIES} or {PREDICTION}, "
                "got another name",
            )
        if output.parameters.classification or output.parameters.shared_memory_region is not None:
            asked = "classification" if output.parameters.classification else "shared memory"
            raise Refusal(
                400,
                f"output {output.name}: wanted no parameter except binary_data, got {asked}, "
                "which is not supported",
            )
        chosen[output.name] = (
            as_bytes if output.parameters.binary_data is None else output.parameters.binary_data
        )
    return chosen or {PROBABILITIES: as_bytes, PREDICTION: as_bytes}


def encode_answer(
    answered: Answered, id: str | None, chosen: dict[str, bool]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON when bytes follow it, else None."""
    rows, classes = len(answered.best), answered.model.facts.classes
    outputs, following = [], b""
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
        following += written
    version = str(answered.model.version)
    head = {
        "model_name": answered.model.facts.name,
        "model_version": version,
        **({} if id is None else {"id": id}),
        "parameters": {"model_version": version, "prediction_ids": ",".join(answered.ids)},
        "outputs": outputs,
    }
    written_head = msgspec.json.encode(head)
    return written_head + following, len(written_head) if any(chosen.values()) else None
