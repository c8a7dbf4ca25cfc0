"""Arrow streams -> checked rows, for requests of very many rows.

pyarrow is imported with the first such request; a service that gets none is smaller without it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flatbuffers.number_types import UOffsetTFlags
from flatbuffers.table import Table
from numpy.typing import NDArray

from api.refusal import MAX_FAULTS, Refusal, fault, show
from api.requests import MAX_NUMBER
from api.rows.decode import NotTaken, RowReader, as_text
from api.rows.pack import MANY
from api.rows.rows import Coded, Rows
from closedloop.records.tables import MAX_KEY_LENGTH
from closedloop.use_case.contract import UseCase

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
# As OpenAPI describes it.
ARROW_CONTENT = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
# The first bytes of a stream since Arrow 0.15; no JSON begins like this.
_MARK = b"\xff\xff\xff\xff"
# What else pyarrow and flatbuffers raise for a broken stream.
_BROKEN = (OSError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
# Places in the tables Message, DictionaryBatch and RecordBatch of Arrow's format/Message.fbs.
_HEADER, _BATCH_OF_DICTIONARY, _COMPRESSION = 8, 6, 10


def is_arrow(body: bytes) -> bool:
    """Whether a body is an Arrow stream."""
    return body[:4] == _MARK


def read_arrow(body: bytes, use_case: UseCase, reader: RowReader, max_rows: int) -> Rows:
    """The rows of an Arrow stream with a column for each of the model's, and maybe the key's.

    NaN counts as null. Raises Refusal 422 naming row and field, 413 for too many rows, 415 for
    compressed buffers or where pyarrow is not installed.
    """
    arrow = import_arrow()
    try:
        table = _open(body, max_rows)
        try:
            return _take(table, use_case)
        except NotTaken:
            rows = _as_json(table)
    except (arrow.ArrowException, *_BROKEN) as error:
        got = show(str(error))
        raise Refusal(422, f"wanted an Arrow stream, got a broken one: {got}") from None
    return reader.read_carefully({"rows": rows}, max_rows)


def _open(body: bytes, max_rows: int) -> Any:
    """The table of a stream, its offsets and texts checked. Raises Refusal, and what pyarrow does
    for a broken one."""
    arrow = import_arrow()
    for message in arrow.ipc.MessageReader.open_stream(body):
        # A few bytes can stand for gigabytes, and only their sender says for how many.
        if message.type in ("record batch", "dictionary") and _is_compressed(message):
            raise Refusal(
                415,
                "an Arrow stream with compressed buffers: wanted plain ones; compress the whole "
                "body instead, with Content-Encoding: gzip",
            )
    batches, rows = [], 0
    with arrow.ipc.open_stream(body) as stream:
        for batch in stream:
            rows += batch.num_rows
            if rows > max_rows:
                raise Refusal(
                    413, f"wanted at most {max_rows} rows in one request, got more: split it"
                )
            # Offsets and places in dictionaries that lie outside would be read all the same.
            batch.validate(full=True)
            batches.append(batch)
        table = arrow.Table.from_batches(batches, stream.schema)
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(422, f"wanted each column once, got {show(twice)} twice")
    return table


def import_arrow() -> Any:
    """pyarrow. Raises Refusal 415 where it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.ipc
    except ImportError:
        raise Refusal(
            415, "Arrow streams need pyarrow, which this service does not have: send JSON"
        ) from None
    return pa


def _is_compressed(message: Any) -> bool:
    """Whether the buffers of a record batch or a dictionary are; pyarrow does not say."""
    data = message.metadata.to_pybytes()
    root = Table(data, UOffsetTFlags.py_type(int.from_bytes(data[:4], "little")))
    header = _follow(root, _HEADER)
    if message.type == "dictionary":
        header = header and _follow(header, _BATCH_OF_DICTIONARY)
    return header is not None and _follow(header, _COMPRESSION) is not None


def _follow(table: Table, place: int) -> Table | None:
    offset = table.Offset(place)
    return Table(table.Bytes, table.Indirect(table.Pos + offset)) if offset else None


def _take(table: Any, use_case: UseCase) -> Rows:
    """Rows of a table of plain columns. Raises NotTaken for what the careful reader must judge."""
    names = {*use_case.columns, *filter(None, [use_case.key])}
    present = set(table.column_names)
    if not table.num_rows or not set(use_case.required) <= present <= names:
        raise NotTaken
    numbers = np.full((table.num_rows, len(use_case.numeric)), np.nan)
    for place, name in enumerate(use_case.numeric):
        if name in present:
            numbers[:, place] = _take_numbers(table.column(name))
    # Never for NaN.
    if (np.abs(numbers) > MAX_NUMBER).any():
        raise NotTaken
    absent = Coded([None], np.zeros(table.num_rows, dtype=np.int64))
    texts = [
        _take_texts(table.column(name)) if name in present else absent
        for name in use_case.categorical
    ]
    keys: Sequence[str | None] = [None] * table.num_rows
    if use_case.key in present:
        coded = _take_texts(table.column(use_case.key), _as_key)
        keys = coded.take(coded.values).tolist()
    return Rows.of_array(numbers, texts, keys)


def _take_numbers(column: Any) -> NDArray[np.float64]:
    arrow, kind = import_arrow(), column.type
    types = arrow.types
    known = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    if not any(is_kind(kind) for is_kind in known):
        raise NotTaken
    return column.cast(arrow.float64(), safe=False).to_numpy()  # type: ignore[no-any-return]


def _take_texts(column: Any, read: Callable[[Any], str | None] = as_text) -> Coded:
    """Texts, and truth values and whole numbers, which `read` spells."""
    arrow = import_arrow()
    types, kind = arrow.types, _kind_of_values(column.type)
    known = (types.is_string, types.is_large_string, types.is_null, types.is_boolean)
    if not (types.is_integer(kind) or any(is_kind(kind) for is_kind in known)):
        raise NotTaken
    values: list[str | None] = [None]
    places = [np.empty(0, dtype=np.int64)]
    for chunk in column.chunks:
        there, found = _code(chunk)
        places.append(np.where(found < 0, 0, found + len(values)))
        values += map(read, there)
    return Coded(values, np.concatenate(places))


def _code(chunk: Any) -> tuple[list[Any], NDArray[np.int64]]:
    """Values that the rows of a chunk have, and the place of each row's; -1 for null."""
    if len(chunk) < MANY:
        return chunk.to_pylist(), np.arange(len(chunk))
    arrow = import_arrow()
    is_sent = arrow.types.is_dictionary(chunk.type)
    coded = chunk if is_sent else chunk.dictionary_encode()
    places = coded.indices.cast(arrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    if not is_sent:
        return coded.dictionary.to_pylist(), places
    # A dictionary is sent once for any number of batches, and may hold what no row has.
    used, places = np.unique(places, return_inverse=True)
    nulls = int(used.size > 0 and used[0] == -1)
    return coded.dictionary.take(arrow.array(used[nulls:])).to_pylist(), places - nulls


def _as_key(key: Any) -> str | None:
    if key is None or (isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH and "\0" not in key):
        return key
    raise NotTaken


def _kind_of_values(kind: Any) -> Any:
    return kind.value_type if import_arrow().types.is_dictionary(kind) else kind


def _as_json(table: Any) -> list[dict[str, Any]]:
    """The rows with JSON's values, for the careful reader; NaN becomes null.

    Raises Refusal 422 for a column of something else, such as times.
    """
    types = import_arrow().types
    plain = (
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_string,
        types.is_large_string,
        types.is_null,
    )
    faults = [
        fault(("rows", field.name), f"wanted numbers or texts, got a column of {field.type}")
        for field in table.schema
        if not any(is_kind(_kind_of_values(field.type)) for is_kind in plain)
    ]
    if faults:
        raise Refusal(422, faults[:MAX_FAULTS])
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
