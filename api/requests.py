"""Request bodies: JSON, the values that it may hold, and the labels of /labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from api.refusal import MAX_FAULTS, Refusal, fault, show
from closedloop.records.labels import Label
from closedloop.records.tables import MAX_KEY_LENGTH

# Trees and ONNX compute in 32 bits: beyond this, a model fails or answers nonsense.
MAX_NUMBER = 3.4e38


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


def read_list(content: dict[str, Any], name: str, max_rows: int) -> list[Any]:
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
    rows = read_list(content, "labels", max_rows)
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
