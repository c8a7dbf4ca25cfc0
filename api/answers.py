"""Answer bodies, as the OpenAPI page documents them.

They are not validated when they are sent: the routes write them directly.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PredictionAnswer(BaseModel):
    id: str = Field(description="id of the prediction: send its label with it")
    prediction: str = Field(
        description="the most probable class, or the second of two from a threshold on"
    )
    probabilities: dict[str, float] = Field(description="one per class; their sum is 1")
    warnings: list[str] = Field(
        description="values outside the contract; the row is answered anyway"
    )


class PredictionsAnswer(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "streamflow",
                "version": 3,
                "predictions": [
                    {
                        "id": "5f0c…-000000",
                        "prediction": "True",
                        "probabilities": {"False": 0.2, "True": 0.8},
                        "warnings": [],
                    }
                ],
            }
        }
    )

    model: str
    version: int = Field(description="the version that answered all rows of the request")
    predictions: list[PredictionAnswer]


class ClassExplanation(BaseModel):
    margin: float = Field(
        description="log odds of the class, or its score before softmax with more than two classes"
    )
    base: float = Field(description="the margin before any column; the same for all rows")
    contributions: dict[str, float] = Field(
        description="by column; with the base, their sum is the margin"
    )
    errors: dict[str, float] | None = Field(
        description="standard errors of the contributions; null unless they are sampled"
    )


class RowExplanation(BaseModel):
    classes: dict[str, ClassExplanation] = Field(
        description="the second class of two, or each of more"
    )


class ExplanationsAnswer(BaseModel):
    model: str
    version: int = Field(description="the version that is explained")
    method: Literal["exact", "tree", "sampled"]
    evaluations: int = Field(
        description="rows that the model scored to explain one; 0 unless contributions are sampled"
    )
    explanations: list[RowExplanation] = Field(description="one per row, in the order of the rows")


class LabelsAnswer(BaseModel):
    recorded: int = Field(
        description="number of new and corrected labels; labels already on record are not counted"
    )


class HealthAnswer(BaseModel):
    alive: bool


class ReadyAnswer(BaseModel):
    ready: bool
    version: int | None = Field(description="the version that answers")
    wanted: int | None = Field(
        description="the version that `production` pointed at when last seen"
    )
    registry: str = Field(description="`reachable`, or what went wrong")
    records: str = Field(description="`writable`, or why answers cannot be recorded")
    reason: str | None = Field(
        description="why it is not ready, or why a version other than the wanted one answers"
    )
    moved: str | None = Field(
        description="which alias somebody moved outside of closedloop: `production` or `previous` "
        "stands elsewhere than the decisions in the journal put it"
    )
    refused: dict[int, str] = Field(
        description="versions that could not be loaded or failed their self-test, and why"
    )


class FeatureAnswer(BaseModel):
    type: str
    minimum: float | None
    maximum: float | None
    allowed: list[str]
    optional: bool
    recorded: bool = Field(description="whether its values are kept in the records")


class ModelAnswer(BaseModel):
    name: str
    version: int
    recipe: str
    classes: list[str]
    val_auc: float | None
    threshold: float | None = Field(
        description="probability from which the second of two classes is the prediction; null "
        "where the most probable class is"
    )
    trained_windows: list[str]
    rows: int
    features: dict[str, FeatureAnswer]
    served_by: Literal["onnx", "pipeline"] = Field(description="what computes the answers")
    served_reason: str | None = Field(description="why the slower pipeline answers, not ONNX")
    ms_a_row: float | None = Field(
        description="milliseconds that one row alone took when the version was registered; null "
        "where that was not measured"
    )
    loaded_at: datetime
    refused: dict[int, str]


class LiveDecision(BaseModel):
    id: int
    action: str
    version: int | None
    window: str
    origin: Literal["loop", "person"]
    by: str = Field(description="the loop, a person, or the name of that person")
    reason: str
    decided: datetime
    carried_out: datetime | None


class LiveService(BaseModel):
    version: int
    since: datetime
    service: str | None


class LiveAnswer(BaseModel):
    at: datetime
    version: int | None = Field(description="null when nothing was live")
    since: datetime | None
    decision: LiveDecision | None = Field(description="the decision that made it live")
    until: datetime | None = Field(description="null while it is live; it was not live then")
    ended_by: LiveDecision | None
    moving: LiveDecision | None = Field(
        description="a move that was decided by then and not yet noted as carried out"
    )
    moved_outside: LiveDecision | None = Field(
        description="`production` was found elsewhere, moved outside of closedloop"
    )
    answered_since: datetime | None = Field(
        description="when the first service began to answer with it"
    )
    answered: list[LiveService] = Field(description="the services that noted it, oldest first")


class TrainingAnswer(BaseModel):
    recipe: str | None
    window: str | None
    trained_through: str | None
    windows: dict[str, str] | None = Field(
        description="training window -> the first 12 digits of the sha256 of its rows"
    )
    revision: str | None = Field(description="commit of the folder of loop.toml")
    closedloop: str | None = Field(description="version of closedloop")
    own_code: str | None = Field(description="sha256 of the user's own estimator")
    contract: str | None = Field(description="fingerprint of loop.toml")
    seed: str | None
    platform: str | None
    files: str | None = Field(description="sha256 of the version's files")
    run: str | None = Field(description="its run in MLflow")


class PredictionLiveAnswer(BaseModel):
    prediction: str
    at: datetime
    version: int = Field(description="the version that answered")
    decision: LiveDecision | None = Field(
        description="the newest decision by then that made it live"
    )
    live_then: int | None = Field(description="the version that was live by the journal")
    training: TrainingAnswer | None
    unknown: str | None = Field(description="why `training` is null")


class FaultAnswer(BaseModel):
    loc: list[str | int] = Field(
        description="place of the fault: body, rows, number of the row, field"
    )
    msg: str
    type: str


class RefusedAnswer(BaseModel):
    detail: list[FaultAnswer]


class ErrorAnswer(BaseModel):
    detail: str
