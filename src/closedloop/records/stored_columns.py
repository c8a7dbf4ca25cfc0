"""What is written of many requests -> columns of values, without work in Python for each row.

Requests of a few rows, as the service writes them, are read by Arrow, all of a page at once. Every
other request is decoded by itself, which is exact for whatever is written: whole numbers, truth
values, numbers as bytes, another type than loop.toml has today. Arrow would read some of that
differently, so it is only given what it reads alike.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from closedloop.errors import StoreError
from closedloop.records.answer_pages import AnswerPage
from closedloop.records.request import from_json, read_column

Values = NDArray[Any]
ColumnTypes = Mapping[str, str]  # name -> "numeric" or "categorical"
_MOST_ROWS = 15  # of a request that Arrow reads: larger ones hold numbers as bytes
# Lists of null, texts and numbers that show that they are none of Python's int.
_NUMBER = r"-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
_VALUE = f"(?:null|{_NUMBER}|{_TEXT})"
_COLUMN = rf"{_TEXT}:\[{_VALUE}(?:,{_VALUE})*\]"
_PLAIN = rf"^\{{{_COLUMN}(?:,{_COLUMN})*\}}$"
_BLOCK_BYTES = 2_000_000


@dataclass(eq=False)
class Column:
    """A column: each of its values is in `numbers` (NaN elsewhere) or in `others` (None elsewhere).

    Either may be missing; what is in neither is null.
    """

    numbers: NDArray[np.float64] | None = None
    others: Values | None = None

    def take(self, kept: NDArray[Any] | slice) -> Column:
        """The rows of a mask, of places or of a slice."""
        parts = (self.numbers, self.others)
        return Column(*(None if part is None else part[kept] for part in parts))

    def values(self, rows: int, *, null_is_number: bool = False) -> Values:
        """Floats, NaN for null, when all are; otherwise objects, None for null.

        Without any value, `null_is_number` chooses the first.
        """
        numbers, others = self.numbers, self.others
        has_others = others is not None and not pd.isna(others).all()
        known = None if numbers is None else ~np.isnan(numbers)
        if not has_others:
            if known is not None and known.any():
                return numbers  # type: ignore[return-value]
            return np.full(rows, np.nan) if null_is_number else np.full(rows, None, dtype=object)
        assert others is not None
        if known is not None and known.any():
            others = others.copy()
            others[known] = numbers[known].astype(object)  # type: ignore[index]
        return others


def join_columns(parts: Sequence[tuple[int, Column]]) -> Column:
    """Columns of so many rows, one after another."""
    joined = Column()
    if any(part.numbers is not None for _, part in parts):
        joined.numbers = np.concatenate([_or_nulls(part.numbers, rows) for rows, part in parts])
    if any(part.others is not None for _, part in parts):
        nulls = [
            np.full(rows, None, dtype=object) if part.others is None else part.others
            for rows, part in parts
        ]
        joined.others = np.concatenate(nulls)
    return joined


def to_frame(columns: Mapping[str, Values]) -> pd.DataFrame:
    """Values as a frame that shares them, each column with the type that it has."""
    typed = {
        name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in columns.items()
    }
    return pd.DataFrame(typed, copy=False)


def _or_nulls(numbers: NDArray[np.float64] | None, rows: int) -> NDArray[np.float64]:
    return np.full(rows, np.nan) if numbers is None else numbers


def decode_columns(page: AnswerPage, types: ColumnTypes) -> dict[str, Column]:
    """The columns of a page, with a value for each of its rows."""
    plain = page.rows <= _MOST_ROWS
    plain[plain] = _are_plain([page.features[place] for place in np.flatnonzero(plain).tolist()])
    total = int(page.rows.sum())
    quick = _decode_quickly(page, np.flatnonzero(plain), types) if plain.any() else {}
    if quick is None:
        plain[:], quick = False, {}
    if plain.all():
        return quick
    careful = _decode_carefully(page, np.flatnonzero(~plain), types)
    if not plain.any():
        return careful
    by_row = np.repeat(plain, page.rows)
    return {name: _merge(total, (by_row, quick[name]), (~by_row, careful[name])) for name in types}


def _are_plain(written: Sequence[str]) -> Values:
    found = pc.match_substring_regex(pa.array(written, pa.large_string()), _PLAIN)
    return found.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _merge(total: int, *parts: tuple[NDArray[np.bool_], Column]) -> Column:
    merged = Column()
    for mask, part in parts:
        if part.numbers is not None:
            merged.numbers = _or_nulls(merged.numbers, total)
            merged.numbers[mask] = part.numbers
        if part.others is not None:
            if merged.others is None:
                merged.others = np.full(total, None, dtype=object)
            merged.others[mask] = part.others
    return merged


def _decode_quickly(
    page: AnswerPage, places: NDArray[np.intp], types: ColumnTypes
) -> dict[str, Column] | None:
    """The columns of plain requests; None when one has a type that loop.toml does not have."""
    chosen = [page.features[place] for place in places.tolist()]
    schema = {
        name: pa.float64() if kind == "numeric" else pa.string() for name, kind in types.items()
    }
    table, rows = read_lines("\n".join(chosen), max(map(len, chosen)), schema), page.rows[places]
    if table is None:
        return None
    columns = {name: take_lists(table.column(name), rows) for name in types}
    return None if None in columns.values() else columns  # type: ignore[return-value]


def read_lines(written: str, longest: int, types: Mapping[str, Any]) -> Any:
    """A table of lists of these types from lines of JSON; None when there are others."""
    schema = pa.schema([(name, pa.list_(kind)) for name, kind in types.items()])
    try:
        return pa.json.read_json(
            pa.BufferReader(written.encode()),
            # A character has up to four bytes, and a block holds at least a line.
            pa.json.ReadOptions(block_size=max(_BLOCK_BYTES, 4 * longest + 2)),
            pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        return None


def take_lists(column: Any, rows: NDArray[np.int64]) -> Column | None:
    """The values in lists; None when a list is not as long as its request has rows."""
    lists = column.combine_chunks()
    absent = lists.is_null().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
    if not np.array_equal(lengths, np.where(absent, 0, rows)):
        return None
    flat = lists.flatten()
    if pa.types.is_floating(flat.type):
        taken = Column(numbers=flat.to_numpy(zero_copy_only=False))
    else:
        taken = Column(others=take_texts(flat))
    if absent.any():
        return _merge(int(rows.sum()), (np.repeat(~absent, rows), taken))
    return taken


def take_texts(texts: Any) -> Values:
    """An array of Arrow's as str objects, one for all that are equal; None for null."""
    coded = texts.dictionary_encode()
    distinct = [*coded.dictionary.to_pylist(), None]
    codes = coded.indices.fill_null(len(distinct) - 1).to_numpy()
    found: Values = np.fromiter(distinct, object, len(distinct))[codes]
    return found


def _decode_carefully(
    page: AnswerPage, places: NDArray[np.intp], types: ColumnTypes
) -> dict[str, Column]:
    written: dict[str, list[Any]] = {name: [] for name in types}
    columns = [(name, part.append) for name, part in written.items()]
    for place in places.tolist():
        sent = from_json(page.features[place])
        for name, append in columns:
            append(sent.get(name))
    counts = page.rows[places].tolist()
    try:
        return {name: _from_written(parts, counts) for name, parts in written.items()}
    except (ValueError, struct.error) as error:
        raise not_whole(page, str(error)) from error


def not_whole(page: AnswerPage, got: str) -> StoreError:
    """The error of requests whose columns are not as long as they have rows."""
    return StoreError(
        where=f"records, {len(page.rows)} requests from {page.requests[0]} on",
        wanted="a value in every column for each of their rows",
        got=got,
        then="see who else writes to the table answers",
    )


def _from_written(written: Sequence[list[Any] | str | None], counts: Sequence[int]) -> Column:
    total = sum(counts)
    if all(isinstance(part, str) for part in written):
        numbers = np.frombuffer(b"".join(map(base64.b64decode, written)), "<f8")  # type: ignore[arg-type]
        return Column(numbers=numbers.reshape(total))
    lists = list(map(read_column, written, counts))
    if list(map(len, lists)) != list(counts):
        raise ValueError(f"{sum(map(len, lists))} values for {total} rows")
    return make_column(list(chain.from_iterable(lists)))


def make_column(values: Sequence[Any]) -> Column:
    """A column of values as JSON has them, None for null."""
    kinds = {*map(type, values)} - {type(None)}
    if kinds <= {float}:
        return Column(numbers=np.array(values, dtype=float))
    if kinds == {str}:
        return Column(others=take_texts(pa.array(values, pa.string())))
    return Column(others=np.fromiter(values, object, len(values)))
