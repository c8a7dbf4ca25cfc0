"""Request bodies: JSON, the values that it may hold, and the labels of /labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from api.broken_json import describe_broken_json, find_literals
from api.refusal import MAX_FAULTS, Refusal, fault, show
from closedloop.records.labels import Label
from closedloop.records.tables import MAX_KEY_LENGTH
from closedloop.windows.written_numbers import read_amount

# Trees and ONNX compute in 32 bits: beyond this, a model fails or answers nonsense.
MAX_NUMBER = 3.4e38


def read_json(body: bytes) -> Any:
    """The content of a body. Raises Refusal 422 unless it is JSON, which has no NaN or Infinity."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(
            422,
            find_literals(body) or [fault((), describe_broken_json(body, error), "json_invalid")],
        ) from None


def _as_text(value: Any) -> Any:
    """The spelling that training reads: true is 'True', 1.0 is '1'."""
    if isinstance(value, bool | int):
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else value


def _as_number(value: Any) -> Any:
    """Text is read as in files: '1,234.50' and '12 %' are numbers."""
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    if isinstance(value, str):
        number, _ = read_amount(value)
        if not math.isfinite(number) or value.strip().casefold() in ("true", "false"):
            raise ValueError("not the text of a number")
        return number
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
    float, BeforeValidator(_as_number), Field(allow_inf_nan=False), AfterValidator(_refuse_huge)
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
    """An aware UTC time from a text; numbers and dates, which pydantic takes, are ambiguous."""
    if value is None:
        return None
    wanted = "wanted an ISO 8601 time with a time zone, like 2026-11-20T12:00:00Z"
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{wanted}, got {show(value)}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{wanted}, got {show(value)}, which has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(
            f"wanted a time in the years 1 to 9999 in UTC, got {show(value)}"
        ) from None


def read_list(content: dict[str, Any], name: str, max_rows: int) -> list[Any]:
    """The list in `{name: [...]}`. Raises Refusal 422, or 413 for more than `max_rows` entries."""
    entries = content[name]
    if not isinstance(entries, list):
        raise Refusal(422, [fault((name,), f"wanted a list, got {show(entries)}", "list_type")])
    if not entries:
        raise Refusal(422, [fault((name,), "wanted at least one, got an empty list", "too_short")])
    if len(entries) > max_rows:
        raise Refusal(
            413,
            f"wanted at most {max_rows} {name} in one request, got {len(entries)}: split it",
        )
    for other in content:
        if other != name:
            raise Refusal(
                422,
                [fault((other,), f"unknown field {show(other)} beside {name}", "extra_forbidden")],
            )
    return entries


class LabelMessage(BaseModel):
    """The true class of one prediction, found by its id or, as the newest of its key, by key."""

    model_config = ConfigDict(extra="forbid")

    id: Key | None = None
    key: Key | None = None
    at: Moment | None = Field(
        None,
        description=(
            "with a key: selects the newest prediction answered at or before this time; "
            "ISO 8601 with a time zone"
        ),
    )
    label: Text
    replaces: StrictBool = Field(
        False,
        validation_alias=AliasChoices("replaces", "replace"),
        description="corrects a label that is on record, which is kept with who corrected it and "
        "when; once there are keys, it takes one with the role operator",
    )

    @field_validator("at")
    @classmethod
    def _refuse_time_with_id(cls, at: datetime | None, info: ValidationInfo) -> datetime | None:
        if at is not None and info.data.get("id") is not None:
            raise ValueError(
                "wanted a time only with a key, got one with an id: an id needs no time"
            )
        return at

    @model_validator(mode="after")
    def _require_id_or_key(self) -> LabelMessage:
        if (self.id is None) == (self.key is None):
            raise ValueError("wanted either id or key")
        return self


class LabelsMessage(BaseModel):
    labels: list[LabelMessage] = Field(min_length=1)


_LABELS = TypeAdapter(list[LabelMessage])


def read_labels(content: Any, classes: Sequence[str], max_rows: int) -> list[Label]:
    """The labels in `{"labels": [...]}`.

    Raises Refusal 422 naming row and field, or 413 for too many.
    """
    if not isinstance(content, dict) or "labels" not in content:
        raise Refusal(
            422, [fault(("labels",), 'wanted {"labels": [{"id": ..., "label": ...}]}', "missing")]
        )
    entries = read_list(content, "labels", max_rows)
    try:
        checked = _LABELS.validate_python(entries)
    except ValidationError as error:
        faults = [
            fault(
                ("labels", *found["loc"]), found["msg"].removeprefix("Value error, "), found["type"]
            )
            for found in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]
        ]
        raise Refusal(422, faults) from None
    unknown = [
        fault(
            ("labels", number, "label"),
            f"wanted one of {', '.join(classes)}, got {show(message.label)}",
            "unknown_class",
        )
        for number, message in enumerate(checked)
        if message.label not in classes
    ]
    if unknown:
        raise Refusal(422, unknown[:MAX_FAULTS])
    return [
        Label(
            message.label,
            id=message.id,
            key=message.key,
            at=message.at,
            replaces=message.replaces,
        )
        for message in checked
    ]
