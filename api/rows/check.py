"""The careful reader of rows: checks one row of a use case and names every fault by its field.

The type of a row is made from the columns of the model, so a new model brings its own contract.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import ErrorDetails

from api.refusal import MAX_FAULTS, Refusal, fault, show
from api.requests import MAX_NUMBER, Key, Number, Text, read_list
from closedloop.records.tables import MAX_KEY_LENGTH
from closedloop.use_case.contract import Column, UseCase
from closedloop.windows.written_numbers import read_amount


@dataclass(frozen=True)
class Row:
    """One row to answer: its features in the order of the model, None for null."""

    features: dict[str, float | str | None]
    key: str | None


class RowType:
    """The type of a row of one model: every feature, null where it has no value, maybe the key."""

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        # Columns may have any name, fields may not: each column is the alias of a plain field.
        fields: dict[str, Any] = {
            f"f{number}": (
                Number | None if column.type == "numeric" else Text | None,
                Field(None if column.optional else ..., alias=name, description=_describe(column)),
            )
            for number, (name, column) in enumerate(use_case.columns.items())
        }
        if use_case.key is not None:
            fields["key"] = (
                Key | None,
                Field(
                    None,
                    alias=use_case.key,
                    description="name of the row: send its label with it",
                ),
            )
        self.model = create_model("Row", __config__=ConfigDict(extra="forbid"), **fields)
        self._rows: TypeAdapter[list[Any]] = TypeAdapter(list[self.model])  # type: ignore[name-defined]

    def read(self, content: Any, max_rows: int) -> list[Row]:
        """The rows of `{"rows": [...]}` or of one bare row.

        Raises Refusal 422 naming row and field, or 413 for too many.
        """
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
        rows = read_list(content, "rows", max_rows) if many else [content]
        try:
            checked = self._rows.validate_python(rows)
        except ValidationError as error:
            raise Refusal(422, self._faults(error, ("rows",) if many else None)) from None
        return [self._take_row(row) for row in checked]

    def _take_row(self, checked: BaseModel) -> Row:
        values = checked.model_dump(by_alias=True)
        key = None if self._use_case.key is None else values.pop(self._use_case.key)
        return Row(values, key)

    def _faults(
        self, error: ValidationError, prefix: tuple[str, ...] | None
    ) -> list[dict[str, Any]]:
        found = []
        for details in error.errors(include_url=False)[:MAX_FAULTS]:
            loc = details["loc"][1:] if prefix is None else (*prefix, *details["loc"])
            found.append(fault(loc, self._explain(details), details["type"]))
        if error.error_count() > MAX_FAULTS:
            found.append(
                fault(
                    (),
                    f"{error.error_count() - MAX_FAULTS} more faults are not listed",
                    "too_many_faults",
                )
            )
        return found

    def _explain(self, details: ErrorDetails) -> str:
        name = str(details["loc"][-1])
        if details["type"] == "missing":
            return f"wanted a value or null for {name}, got nothing: send every feature"
        if details["type"] == "extra_forbidden":
            if name == self._use_case.target.column:
                return f"{name} is what the model predicts: leave it out"
            known = [*self._use_case.columns, *([self._use_case.key] if self._use_case.key else [])]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            return f"unknown field {show(name)}: " + (
                f"did you mean {near[0]}?" if near else f"the model knows {', '.join(known)[:500]}"
            )
        if name == self._use_case.key:
            return (
                f"wanted a key of 1 to {MAX_KEY_LENGTH} characters without NUL, or null, "
                f"got {show(details['input'])}"
            )
        if len(details["loc"]) == 1:
            return f"wanted an object of features, got {show(details['input'])}"
        wanted = (
            f"a number up to {MAX_NUMBER:g} or null"
            if self._use_case.columns[name].type == "numeric"
            else "a text or null"
        )
        sign = (
            ": the decimal sign is a point"
            if wanted.startswith("a number") and _has_decimal_comma(details["input"])
            else ""
        )
        return f"wanted {wanted}, got {show(details['input'])}{sign}"


def _has_decimal_comma(value: Any) -> bool:
    if not isinstance(value, str) or "," not in value:
        return False
    return math.isfinite(read_amount(value.replace(".", "").replace(",", "."))[0])


def _describe(column: Column) -> str:
    if column.allowed:
        return f"one of {', '.join(column.allowed)}"
    low = "" if column.minimum is None else f"from {column.minimum:g} "
    return (
        f"{low}up to {column.maximum:g}"
        if column.maximum is not None
        else low.strip() or f"any {column.type} value"
    )
