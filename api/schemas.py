"""What may be asked and what is answered: JSON in, checked rows and labels out, every fault named
by its field.

The type of a row is made from the columns of the model that answers, so a new model brings its own
contract.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, from_json

from closedloop.records.labels import Label
from closedloop.records.tables import MAX_KEY_LENGTH
from closedloop.use_case.contract import Column, UseCase

MAX_FAULTS = 100
MAX_NUMBER = (
    3.4e38  # trees and ONNX compute in 32 bits; beyond it a model fails or answers nonsense
)


class Refusal(Exception):
    """An answer other than the one that was asked for: the status, the `detail` of its body, when
    to ask again, other headers."""

    def __init__(
        self,
        status: int,
        detail: str | list[dict[str, Any]],
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.detail = status, detail
        self.headers = {
            **(headers or {}),
            **({} if retry_seconds is None else {"retry-after": str(retry_seconds)}),
        } or None
        super().__init__(f"{status}: {detail}")


def fault(loc: Sequence[str | int], message: str, type: str = "value_error") -> dict[str, Any]:
    """One entry of a 422's `detail`, in the form that FastAPI documents."""
    return {"loc": ["body", *loc], "msg": message, "type": type}


def read_json(body: bytes) -> Any:
    """Raises Refusal 422 for what is not JSON; NaN and Infinity are not."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(
            422, [fault((), f"wanted JSON, got something else: {error}", "json_invalid")]
        ) from None


def _as_text(value: Any) -> Any:
    """One spelling per value, the one that `schema.prepare` gives: true is 'True', 1.0 is '1'."""
    if isinstance(value, bool | int):
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else value


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    return value


def _refuse_huge(value: float) -> float:
    if abs(value) > MAX_NUMBER:
        raise ValueError("larger than a model can compute with")
    return value


def _refuse_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("the character NUL cannot be stored")
    return value


Number = Annotated[
    float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False), AfterValidator(_refuse_huge)
]
Text = Annotated[str, BeforeValidator(_as_text)]
Moment = Annotated[datetime, BeforeValidator(lambda value: _read_moment(value))]
Key = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(min_length=1, max_length=MAX_KEY_LENGTH),
    AfterValidator(_refuse_nul),
]


def _read_moment(value: Any) -> datetime | None:
    """An aware UTC time of a text; what pydantic would take besides (a count of seconds, a bare
    date) could mean several."""
    if value is None:
        return None
    wanted = "wanted an ISO 8601 time with its zone, like 2026-11-20T12:00:00Z"
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{wanted}, got {show(value)}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{wanted}, got {show(value)}, which has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(
            f"wanted a time within the years 1 to 9999 of UTC, got {show(value)}"
        ) from None


@dataclass(frozen=True)
class Row:
    """One row to answer: its features in the order of the model, None for null."""

    features: dict[str, float | str | None]
    key: str | None


class RowType:
    """The type of one row of one model: every feature named, null written out, nothing else but the
    key."""

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        # Columns may have any name, fields may not: each column is the alias of a plain field.
        fields: dict[str, Any] = {
            f"f{number}": (
                Number | None if column.type == "numeric" else Text | None,
                Field(alias=name, description=_describe(column)),
            )
            for number, (name, column) in enumerate(use_case.columns.items())
        }
        if use_case.key is not None:
            fields["key"] = (
                Key | None,
                Field(
                    None,
                    alias=use_case.key,
                    description="names the row, so that its label can be sent by key",
                ),
            )
        self.model = create_model("Row", __config__=ConfigDict(extra="forbid"), **fields)
        self._rows: TypeAdapter[list[Any]] = TypeAdapter(list[self.model])  # type: ignore[name-defined]

    def read(self, content: Any, max_rows: int) -> list[Row]:
        """The rows of `{"rows": [...]}`, or of one bare row. Raises Refusal 422 naming field and
        row, or 413 for too many."""
        if not isinstance(content, dict):
            raise Refusal(
                422,
                [
                    fault(
                        (),
                        f'wanted {{"rows": [...]}} or one row as an object, got {show(content)}',
                        "dict_type",
                    )
                ],
            )
        many = "rows" in content and (
            "rows" not in self._use_case.columns or isinstance(content["rows"], list)
        )
        rows = _read_list(content, "rows", max_rows) if many else [content]
        try:
            checked = self._rows.validate_python(rows)
        except ValidationError as error:
            raise Refusal(422, self._faults(error, ("rows",) if many else None)) from None
        return [self._row(one) for one in checked]

    def _row(self, checked: BaseModel) -> Row:
        values = checked.model_dump(by_alias=True)
        key = None if self._use_case.key is None else values.pop(self._use_case.key)
        return Row(values, key)

    def _faults(
        self, error: ValidationError, prefix: tuple[str, ...] | None
    ) -> list[dict[str, Any]]:
        found = []
        for one in error.errors(include_url=False)[:MAX_FAULTS]:
            loc = one["loc"][1:] if prefix is None else (*prefix, *one["loc"])
            found.append(fault(loc, self._explain(one), one["type"]))
        if error.error_count() > MAX_FAULTS:
            found.append(
                fault(
                    (),
                    f"{error.error_count() - MAX_FAULTS} more faults are not listed",
                    "too_many_faults",
                )
            )
        return found

    def _explain(self, one: ErrorDetails) -> str:
        name = str(one["loc"][-1])
        if one["type"] == "missing":
            return f"wanted a value or null for {name}, got nothing: send every feature"
        if one["type"] == "extra_forbidden":
            if name == self._use_case.target.column:
                return f"{name} is what the model predicts: leave it out"
            known = [*self._use_case.columns, *([self._use_case.key] if self._use_case.key else [])]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            return f"unknown field {show(name)}: " + (
                f"did you mean {near[0]}?" if near else f"the model knows {', '.join(known)[:500]}"
            )
        if name == self._use_case.key:
            return f"wanted a key of 1 to {MAX_KEY_LENGTH} characters without NUL, or null, got {show(one['input'])}"
        if len(one["loc"]) == 1:
            return f"wanted an object of features, got {show(one['input'])}"
        wanted = (
            f"a number up to {MAX_NUMBER:g} or null"
            if self._use_case.columns[name].type == "numeric"
            else "a text or null"
        )
        return f"wanted {wanted}, got {show(one['input'])}"


def _describe(column: Column) -> str:
    if column.allowed:
        return f"one of {', '.join(column.allowed)}"
    low = "" if column.minimum is None else f"from {column.minimum:g} "
    return (
        f"{low}up to {column.maximum:g}"
        if column.maximum is not None
        else low.strip() or f"any {column.type} value"
    )


def show(value: Any) -> str:
    """At most 80 characters of a value as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number too large to hold"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    shown = (
        json.dumps(value, ensure_ascii=False)
        if not isinstance(value, int) or abs(value) < 10**80
        else "a number too large to hold"
    )
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _read_list(content: dict[str, Any], name: str, max_rows: int) -> list[Any]:
    rows = content[name]
    if not isinstance(rows, list):
        raise Refusal(422, [fault((name,), f"wanted a list, got {show(rows)}", "list_type")])
    if not rows:
        raise Refusal(422, [fault((name,), "wanted at least one, got an empty list", "too_short")])
    if len(rows) > max_rows:
        raise Refusal(
            413,
            f"wanted at most {max_rows} {name} in one request, got {len(rows)}: send them in parts",
        )
    for other in content:
        if other != name:
            raise Refusal(
                422,
                [fault((other,), f"unknown field {show(other)} beside {name}", "extra_forbidden")],
            )
    return rows


class LabelMessage(BaseModel):
    """The truth about one prediction, named by its id or by its key (then the newest prediction of
    that key is meant)."""

    model_config = ConfigDict(extra="forbid")

    id: Key | None = None
    key: Key | None = None
    at: Moment | None = Field(
        None,
        description="beside a key: the newest prediction that was answered then or before is meant; ISO 8601 with its zone",
    )
    label: Text

    @field_validator("at")
    @classmethod
    def _beside_a_key(cls, at: datetime | None, said: ValidationInfo) -> datetime | None:
        if at is not None and said.data.get("id") is not None:
            raise ValueError(
                "wanted a time beside a key only, got one beside an id: an id names its prediction alone"
            )
        return at

    @model_validator(mode="after")
    def _one_name(self) -> LabelMessage:
        if (self.id is None) == (self.key is None):
            raise ValueError("wanted either id or key")
        return self


class LabelsMessage(BaseModel):
    labels: list[LabelMessage] = Field(min_length=1)


_LABELS = TypeAdapter(list[LabelMessage])


def read_labels(content: Any, classes: Sequence[str], max_rows: int) -> list[Label]:
    """The labels of `{"labels": [...]}`. Raises Refusal 422 naming field and row, or 413 for too
    many."""
    if not isinstance(content, dict) or "labels" not in content:
        raise Refusal(
            422, [fault(("labels",), 'wanted {"labels": [{"id": ..., "label": ...}]}', "missing")]
        )
    rows = _read_list(content, "labels", max_rows)
    try:
        checked = _LABELS.validate_python(rows)
    except ValidationError as error:
        faults = [
            fault(("labels", *one["loc"]), one["msg"].removeprefix("Value error, "), one["type"])
            for one in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]
        ]
        raise Refusal(422, faults) from None
    unknown = [
        fault(
            ("labels", number, "label"),
            f"wanted one of {', '.join(classes)}, got {show(one.label)}",
            "unknown_class",
        )
        for number, one in enumerate(checked)
        if one.label not in classes
    ]
    if unknown:
        raise Refusal(422, unknown[:MAX_FAULTS])
    return [Label(one.label, id=one.id, key=one.key, at=one.at) for one in checked]


# What is answered. These document the answers; the answers themselves are written without a second
# validation.


class PredictionAnswer(BaseModel):
    id: str = Field(description="names this prediction, for its label")
    prediction: str = Field(description="the likeliest class")
    probabilities: dict[str, float] = Field(description="one per class; they add up to 1")
    warnings: list[str] = Field(description="values outside the contract; answered all the same")


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
    version: int = Field(description="the one version that answered every row of this request")
    predictions: list[PredictionAnswer]


class LabelsAnswer(BaseModel):
    recorded: int = Field(description="labels that were news; those already known are no fault")


class HealthAnswer(BaseModel):
    alive: bool


class ReadyAnswer(BaseModel):
    ready: bool
    version: int | None = Field(description="the version that answers")
    wanted: int | None = Field(description="the version that production points at, as last seen")
    registry: str = Field(description="`reachable`, or what went wrong")
    records: str = Field(description="`writable`, or why answers cannot be recorded")
    reason: str | None = Field(
        description="why it is not ready, or why another version than the wanted one answers"
    )
    refused: dict[int, str] = Field(
        description="versions that could not be loaded or failed their self-test, with the reason"
    )


class FeatureAnswer(BaseModel):
    type: str
    minimum: float | None
    maximum: float | None
    allowed: list[str]


class ModelAnswer(BaseModel):
    name: str
    version: int
    recipe: str
    classes: list[str]
    val_auc: float | None
    trained_windows: list[str]
    rows: int
    features: dict[str, FeatureAnswer]
    served_by: Literal["onnx", "pipeline"] = Field(description="what computes the answers")
    served_reason: str | None = Field(
        description="why the pipeline answers itself, which is slower"
    )
    loaded_at: datetime
    refused: dict[int, str]


class FaultAnswer(BaseModel):
    loc: list[str | int] = Field(
        description="where: body, then rows and the row's number, then the field"
    )
    msg: str
    type: str


class RefusedAnswer(BaseModel):
    detail: list[FaultAnswer]


class ErrorAnswer(BaseModel):
    detail: str
