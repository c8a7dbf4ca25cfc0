"""Bytes -> checked rows, fast: a decoder compiled from the columns of the model takes the good requests.

Whatever it does not take goes to the careful reader (`messages.RowType`), which accepts some more spellings and names every fault. So
this module never refuses anything by itself, and what it accepts is exactly what the careful reader reads there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api.messages import MAX_NUMBER, RowType, read_json
from closedloop.records import MAX_KEY_LENGTH
from closedloop.use_case import UseCase

_NUMBER = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None
_TEXT = str | int | float | bool | None
_KEY = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)] | None
_EXACT = 2.0**53  # from here on a float stands for more than one whole number


class _NotTaken(Exception):
    """The careful reader has to look at this."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one request. Per row: numbers, then texts, each in the order of the use case, None for null; and its key."""

    numbers: Sequence[Sequence[float | None]]
    texts: Sequence[Sequence[str | None]]
    keys: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.keys)


class RowReader:
    """Reads the requests of one model."""

    def __init__(self, use_case: UseCase, row_type: RowType) -> None:
        self._use_case, self._row_type = use_case, row_type
        self._numbers, self._texts = use_case.numeric, use_case.categorical
        self._decode = _compile(use_case)

    def read(self, body: bytes, max_rows: int) -> Rows:
        """The rows of `{"rows": [...]}`, or of one bare row. Raises Refusal 422 naming field and row, or 413 for too many."""
        try:
            decoded = self._decode(body)
            if 0 < len(decoded) <= max_rows:
                return self._take(decoded)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _NotTaken):
            pass
        return self.read_carefully(read_json(body), max_rows)

    def _take(self, decoded: Sequence[Any]) -> Rows:
        first_text, first_key = len(self._numbers), len(self._numbers) + len(self._texts)
        rows = [msgspec.structs.astuple(one) for one in decoded]
        keys = [row[first_key] for row in rows] if self._use_case.key is not None else [None] * len(rows)
        for key in keys:
            if key is not None and "\0" in key:
                raise _NotTaken
        return Rows([row[:first_text] for row in rows], [_as_texts(row[first_text:first_key]) for row in rows], keys)

    def read_carefully(self, content: Any, max_rows: int) -> Rows:
        """The same from content that is decoded already."""
        rows = self._row_type.read(content, max_rows)
        return Rows(
            [[row.features[name] for name in self._numbers] for row in rows],  # type: ignore[misc]
            [[row.features[name] for name in self._texts] for row in rows],  # type: ignore[misc]
            [row.key for row in rows],
        )


def _as_texts(values: Sequence[Any]) -> Sequence[str | None]:
    """One spelling per value, the one that the careful reader gives."""
    for value in values:
        if value is not None and type(value) is not str:
            return [_as_text(one) for one in values]
    return values


def _as_text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is not float:
        return str(value)
    if not value.is_integer() or abs(value) >= _EXACT:
        raise _NotTaken
    return str(int(value))


def _compile(use_case: UseCase) -> Callable[[bytes], Sequence[Any]]:
    """bytes -> structs of numbers, texts and key; raises MsgspecError for what is not exactly that."""
    typed: list[tuple[str, Any]] = [*((name, _NUMBER) for name in use_case.numeric), *((name, _TEXT) for name in use_case.categorical)]
    # Columns may have any name, fields may not.
    fields: list[Any] = [(f"f{number}", kind) for number, (_, kind) in enumerate(typed)]
    names = {f"f{number}": name for number, (name, _) in enumerate(typed)}
    if use_case.key is not None:
        fields.append(("key", _KEY, None))
        names["key"] = use_case.key
    try:
        row = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False)
    except ValueError:  # a name with quotes or control characters: only the careful reader knows it
        return _take_nothing
    read_one = msgspec.json.Decoder(row).decode
    read_many = msgspec.json.Decoder(msgspec.defstruct("Rows", [("rows", list[row])], forbid_unknown_fields=True)).decode  # type: ignore[valid-type]

    def decode(body: bytes) -> Sequence[Any]:
        if b'"rows"' in body[:32]:
            try:
                many: Any = read_many(body)
                return many.rows  # type: ignore[no-any-return]
            except msgspec.ValidationError:
                pass  # a column may be called rows, too
        return (read_one(body),)

    return decode


def _take_nothing(_body: bytes) -> Sequence[Any]:
    raise _NotTaken
