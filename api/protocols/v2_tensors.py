"""Tensors <-> values, as JSON or as bytes after the JSON (the binary tensor extension)."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Sequence
from math import prod
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictBool, StrictInt, ValidationError
from pydantic_core import from_json

from api.broken_json import describe_broken_json
from api.refusal import Refusal, show

NUMBER_TYPES = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "i1",
    "UINT64": "<u8",
    "UINT32": "<u4",
    "UINT16": "<u2",
    "UINT8": "u1",
    "BOOL": "u1",
}
BYTES = "BYTES"
# What a client of MLServer may say of the values of a tensor, and of a whole request.
CONTENT_TYPES = ("np", "pd", "str", "base64")
REQUEST_CONTENT_TYPES = ("np", "pd", "str")
_LENGTH = struct.Struct("<I")  # before each text


class TensorParameters(BaseModel):
    binary_data_size: Annotated[StrictInt, Field(ge=0)] | None = Field(
        default=None, description="number of its bytes after the JSON"
    )
    shared_memory_region: str | None = Field(default=None, description="refused: not supported")
    content_type: str | None = Field(
        default=None,
        description=f"one of {', '.join(CONTENT_TYPES)}; texts in base64 are decoded, the others "
        "are read alike",
    )


class InputTensor(BaseModel):
    name: str = Field(
        description="a column, the key, or `numbers` or `texts` for all columns of a type"
    )
    shape: list[Annotated[StrictInt, Field(ge=0, le=2**31)]] = Field(
        description="[n] or [n, 1]; [n, columns] for `numbers` and `texts`"
    )
    datatype: str = Field(description=f"{', '.join(NUMBER_TYPES)} or {BYTES}")
    parameters: TensorParameters = TensorParameters()
    data: list[Any] | None = Field(
        default=None, description="row by row, flat or nested; null or NaN for a missing value"
    )


class OutputParameters(BaseModel):
    binary_data: StrictBool | None = Field(
        default=None, description="send it as bytes after the JSON"
    )
    classification: StrictInt = Field(default=0, description="refused: not supported")
    shared_memory_region: str | None = Field(default=None, description="refused: not supported")


class RequestedOutput(BaseModel):
    name: str
    parameters: OutputParameters = OutputParameters()


class InferParameters(BaseModel):
    binary_data_output: StrictBool = Field(
        default=False,
        description="send outputs as bytes after the JSON, unless an output says otherwise",
    )
    content_type: str | None = Field(
        default=None, description=f"one of {', '.join(REQUEST_CONTENT_TYPES)}, all read alike"
    )


class InferRequest(BaseModel):
    id: str | None = Field(default=None, description="returned with the answer")
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] = Field(
        default=[], description="the outputs to return, in order; all when empty"
    )


def parse_request(body: bytes, header_length: str | None) -> tuple[InferRequest, bytes]:
    """The JSON of a request and the bytes after it.

    `header_length` is the length of the JSON, None when nothing follows. Raises Refusal 400.
    """
    length = len(body)
    if header_length is not None:
        if not (
            header_length.isascii()
            and header_length.isdigit()
            and len(header_length) < 20
            and int(header_length) <= len(body)
        ):
            raise Refusal(
                400,
                "Inference-Header-Content-Length: wanted at most the "
                f"{len(body)} bytes of the body, got {header_length[:80]!r}",
            )
        length = int(header_length)
    try:
        content = from_json(body[:length])  # with NaN, which clients write for null
    except ValueError as error:
        raise Refusal(400, describe_broken_json(body[:length], error)) from None
    try:
        request = InferRequest.model_validate(content)
    except ValidationError as error:
        raise Refusal(400, _describe(error, content)) from None
    content_type = request.parameters.content_type
    if content_type is not None and content_type not in REQUEST_CONTENT_TYPES:
        raise Refusal(
            400,
            f"parameters: wanted a content_type of {', '.join(REQUEST_CONTENT_TYPES)}, "
            f"got {show(content_type)}",
        )
    return request, body[length:]


def _describe(error: ValidationError, content: Any) -> str:
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if len(place) > 1 and place[0] in ("inputs", "outputs"):
        tensor = content[place[0]][int(place[1])]
        if isinstance(tensor, dict) and isinstance(tensor.get("name"), str):
            place[:2] = [f"{place[0][:-1]} {show(tensor['name'])}"]
    return f"{', '.join(place) or 'body'}: {first['msg']}, got {show(first['input'])}"


class TensorReader:
    """Reads the values of the tensors in order; each takes its part of the bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._place = raw, 0

    def read(self, tensor: InputTensor) -> list[Any]:
        """Values row by row: numbers, booleans, texts or None.

        Raises Refusal 400 for values that do not match the tensor.
        """
        if tensor.datatype != BYTES and tensor.datatype not in NUMBER_TYPES:
            raise tensor_refusal(
                tensor,
                f"one of the datatypes {', '.join(NUMBER_TYPES)} and {BYTES}",
                tensor.datatype[:80],
            )
        if tensor.parameters.shared_memory_region is not None:
            raise tensor_refusal(
                tensor, "values in the request", "shared memory, which is not supported"
            )
        content_type = tensor.parameters.content_type
        if content_type is not None and content_type not in CONTENT_TYPES:
            raise tensor_refusal(
                tensor, f"a content_type of {', '.join(CONTENT_TYPES)}", show(content_type)
            )
        values = self._read_values(tensor)
        return _decode_texts(tensor, values) if content_type == "base64" else values

    def _read_values(self, tensor: InputTensor) -> list[Any]:
        size = tensor.parameters.binary_data_size
        if (size is None) == (tensor.data is None):
            raise tensor_refusal(
                tensor, "either data or binary_data_size", "neither" if size is None else "both"
            )
        if tensor.data is not None:
            return _read_listed(tensor, tensor.data)
        share = self._raw[self._place : self._place + (size or 0)]
        if len(share) != size:
            raise tensor_refusal(tensor, f"{size} bytes after the JSON", f"{len(share)}")
        self._place += len(share)
        return (
            _read_texts(tensor, share) if tensor.datatype == BYTES else _read_packed(tensor, share)
        )

    def finish(self) -> None:
        """Raises Refusal 400 for bytes that belong to no tensor."""
        if left := len(self._raw) - self._place:
            raise Refusal(
                400,
                f"wanted only the bytes of the tensors after the JSON, got {left} more",
            )


def _decode_texts(tensor: InputTensor, values: Sequence[Any]) -> list[str | None]:
    """The texts that the base64 in a tensor stands for."""
    if tensor.datatype != BYTES:
        raise tensor_refusal(tensor, f"base64 in {BYTES} only", tensor.datatype)
    try:
        return [
            None if value is None else b64decode(value, validate=True).decode() for value in values
        ]
    except ValueError as error:  # of base64, or of UTF-8
        raise tensor_refusal(tensor, "texts in UTF-8 as base64", str(error)) from None


def _read_listed(tensor: InputTensor, data: Sequence[Any]) -> list[Any]:
    values = list(data)
    if len(tensor.shape) == 2 and values and all(isinstance(row, list) for row in values):
        if any(len(row) != tensor.shape[1] for row in values):
            raise tensor_refusal(tensor, f"rows of {tensor.shape[1]} values", "others")
        values = [value for row in values for value in row]
    _refuse_length(tensor, len(values))
    allowed = {BYTES: (str,), "BOOL": (bool,)}.get(
        tensor.datatype, (int, float) if tensor.datatype.startswith("FP") else (int,)
    )
    for number, value in enumerate(values):
        if value is not None and type(value) not in allowed and value == value:
            raise tensor_refusal(
                tensor, f"{tensor.datatype} values", f"{show(value)} as value {number}"
            )
    return values


def _read_packed(tensor: InputTensor, share: bytes) -> list[Any]:
    kind = np.dtype(NUMBER_TYPES[tensor.datatype])
    if len(share) % kind.itemsize:
        raise tensor_refusal(
            tensor, f"{kind.itemsize} bytes per value", f"{len(share)} bytes in all"
        )
    _refuse_length(tensor, len(share) // kind.itemsize)
    values: NDArray[Any] = np.frombuffer(share, kind)
    found: list[Any] = (values != 0).tolist() if tensor.datatype == "BOOL" else values.tolist()
    return found


def _read_texts(tensor: InputTensor, share: bytes) -> list[Any]:
    values: list[str] = []
    place = 0
    while place < len(share):
        start = place + _LENGTH.size
        place = start + _LENGTH.unpack_from(share, place)[0] if start <= len(share) else start
        if place > len(share):
            raise tensor_refusal(
                tensor,
                "texts, each after its length in four bytes",
                f"text {len(values)} beyond the end of the data",
            )
        try:
            values.append(share[start:place].decode())
        except UnicodeDecodeError as error:
            raise tensor_refusal(
                tensor, "texts in UTF-8", f"{error} in text {len(values)}"
            ) from None
    _refuse_length(tensor, len(values))
    return values


def _refuse_length(tensor: InputTensor, got: int) -> None:
    if got != prod(tensor.shape):
        raise tensor_refusal(
            tensor, f"{prod(tensor.shape)} values for the shape {tensor.shape}", f"{got}"
        )


def write_texts(texts: Sequence[str]) -> bytes:
    """Texts as the bytes of a BYTES tensor."""
    encoded = (text.encode() for text in texts)
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)


def tensor_refusal(tensor: InputTensor, wanted: str, got: str) -> Refusal:
    """A Refusal 400 that names the tensor, what was wanted and what came."""
    return Refusal(400, f"input {show(tensor.name)}: wanted {wanted}, got {got}")
