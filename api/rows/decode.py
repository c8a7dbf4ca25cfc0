"""Bytes -> checked rows, fast: a decoder compiled from the columns of the model.

What it does not take goes to the careful reader (`check.RowType`), which accepts more spellings and
names every fault. So this module refuses nothing itself, and reads exactly what that one reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api.requests import MAX_NUMBER, read_json
from api.rows.check import RowType
from api.rows.rows import Rows
from closedloop.records.tables import MAX_KEY_LENGTH
from closedloop.use_case.contract import UseCase

NUMBER = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None
TEXT = str | int | float | bool | None
KEY = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)] | None
_TEXTS = frozenset({str, type(None)})
_EXACT = 2.0**53  # from here a float stands for several whole numbers


class NotTaken(Exception):
    """Only the careful reader can judge this."""


class RowReader:
    """Reads the requests of one model: fast where it can, else carefully."""

    def __init__(self, use_case: UseCase, row_type: RowType) -> None:
        self._use_case, self._row_type = use_case, row_type
        self._numbers, self._texts = use_case.numeric, use_case.categorical
        self._row = _make_row(use_case)
        self._decode = _compile(self._row)

    def read(self, body: bytes, max_rows: int) -> Rows:
        """The rows of `{"rows": [...]}` or of one bare row.

        Raises Refusal 422 naming row and field, or 413 for too many.
        """
        try:
            decoded = self._decode(body)
            if 0 < len(decoded) <= max_rows:
                return self._take(decoded)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotTaken):
            pass
        return self.read_carefully(read_json(body), max_rows)

    def _take(self, decoded: Sequence[Any]) -> Rows:
        first_text, first_key = len(self._numbers), len(self._numbers) + len(self._texts)
        if len(decoded) == 1:
            row = msgspec.structs.astuple(decoded[0])
            return Rows(
                (row[:first_text],),
                (_as_texts(row[first_text:first_key]),),
                _check_keys(row[first_key:] or (None,)),
            )
        # By column: work on a whole column costs little more than work on one value.
        columns: list[Sequence[Any]] = list(
            zip(*map(msgspec.structs.astuple, decoded), strict=True)
        )
        keys = [None] * len(decoded) if self._use_case.key is None else columns[first_key]
        return take_columns(columns[:first_text], columns[first_text:first_key], keys)

    def compile_under(self, name: str) -> Callable[[bytes, int], Rows]:
        """A reader of `{name: [row, ...]}`.

        It raises MsgspecError or NotTaken for what only the careful reader can judge.
        """
        decode = _compile_list(self._row, name)

        def read(body: bytes, max_rows: int) -> Rows:
            decoded = decode(body)
            if not 0 < len(decoded) <= max_rows:
                raise NotTaken
            return self._take(decoded)

        return read

    def read_carefully(self, content: Any, max_rows: int) -> Rows:
        """The rows of decoded JSON, read by the careful reader."""
        rows = self._row_type.read(content, max_rows)
        return Rows(
            [[row.features[name] for name in self._numbers] for row in rows],  # type: ignore[misc]
            [[row.features[name] for name in self._texts] for row in rows],  # type: ignore[misc]
            [row.key for row in rows],
        )


def take_columns(
    numbers: Sequence[Sequence[Any]], texts: Sequence[Sequence[Any]], keys: Sequence[str | None]
) -> Rows:
    """Rows from decoded columns. Raises NotTaken for what only the careful reader can judge."""
    return Rows.of_columns(numbers, [_as_texts(column) for column in texts], _check_keys(keys))


def _check_keys(keys: Sequence[str | None]) -> Sequence[str | None]:
    if keys.count(None) < len(keys) and "\0" in "".join(filter(None, keys)):
        raise NotTaken
    return keys


def _as_texts(values: Sequence[Any]) -> Sequence[str | None]:
    """The spelling that the careful reader gives."""
    return values if _TEXTS.issuperset(map(type, values)) else [as_text(value) for value in values]


def as_text(value: Any) -> str | None:
    """The spelling of one value. Raises NotTaken for what only the careful reader can judge."""
    if value is None or type(value) is str:
        return value
    if type(value) is not float:
        return str(value)
    if not value.is_integer() or abs(value) >= _EXACT:
        raise NotTaken
    return str(int(value))


def _make_row(use_case: UseCase) -> Any:
    """The struct of a row: numbers, texts, key.

    None when a name has quotes or control characters: only the careful reader can read such rows.
    """
    typed: list[tuple[str, Any]] = [
        *((name, NUMBER) for name in use_case.numeric),
        *((name, TEXT) for name in use_case.categorical),
    ]
    # Columns may have any name, fields may not.
    fields: list[Any] = [
        (f"f{number}", kind, *((None,) if use_case.columns[name].optional else ()))
        for number, (name, kind) in enumerate(typed)
    ]
    names = {f"f{number}": name for number, (name, _) in enumerate(typed)}
    if use_case.key is not None:
        fields.append(("key", KEY, None))
        names["key"] = use_case.key
    try:
        return msgspec.defstruct(
            "Row", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
        )
    except ValueError:
        return None


def _compile(row: Any) -> Callable[[bytes], Sequence[Any]]:
    """A decoder of bytes to structs, which raises MsgspecError or NotTaken for anything else."""
    if row is None:
        return _take_nothing
    read_row, read_many = msgspec.json.Decoder(row).decode, _compile_list(row, "rows")

    def decode(body: bytes) -> Sequence[Any]:
        if b'"rows"' in body[:32]:
            try:
                return read_many(body)
            except msgspec.ValidationError:
                pass  # a column may be called rows
        return (read_row(body),)

    return decode


def _compile_list(row: Any, name: str) -> Callable[[bytes], Sequence[Any]]:
    """The same decoder for `{name: [row, ...]}`."""
    if row is None:
        return _take_nothing
    fields: list[Any] = [("rows", list[row])]
    read = msgspec.json.Decoder(
        msgspec.defstruct("Rows", fields, rename={"rows": name}, forbid_unknown_fields=True)
    ).decode

    def decode(body: bytes) -> Sequence[Any]:
        many: Any = read(body)
        return many.rows  # type: ignore[no-any-return]

    return decode


def _take_nothing(_body: bytes) -> Sequence[Any]:
    raise NotTaken
