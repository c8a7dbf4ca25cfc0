"""Answer bodies of the Open Inference Protocol, as the OpenAPI page documents them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


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
    classes: list[str] = Field(description="the columns of `probabilities`, in order")
    key: str | None = Field(
        description="an optional input that names the rows: send their labels with it"
    )
    packed: dict[str, list[str]] = Field(
        description="inputs that may replace the others, and the columns of each"
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
        [], description="row by row; missing when the values follow the JSON as bytes"
    )
    parameters: dict[str, int] = Field({}, description="`binary_data_size` when they do")


class InferAnswerParameters(BaseModel):
    model_version: str
    prediction_ids: str = Field(description="one id per row for /labels, separated by commas")


class InferAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str = Field("", description="the id of the request, if it had one")
    parameters: InferAnswerParameters
    outputs: list[OutputAnswer]


class InferenceFault(BaseModel):
    error: str
