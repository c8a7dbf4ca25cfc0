"""Tables of any size, read in chunks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.table_file import find_table

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 50_000
_ALL_ROWS = 2**62
_BLOCK_BYTES = 2**20  # of CSV text at once, of which Arrow reads 32 ahead; no row may be longer
_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows. `first_row` counts from 1; `whole` when this is the entire table.

    `frame` holds the requested columns, the first one of each name; `columns` holds them unchanged,
    for a `ChunkWriter`.
    """

    frame: pd.DataFrame
    columns: Mapping[str, Any]
    first_row: int
    whole: bool


class ChunkReader:
    """One table: its column `names`, its `size`, and how much of it is `done`.

    Both are bytes for a CSV file, rows for a Parquet file.
    """

    names: tuple[str, ...]
    size: int

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def done(self) -> int:
        """0 to `size`; CSV text that was read ahead counts as done."""
        raise NotImplementedError

    def chunks(
        self, columns: Sequence[str], numeric: Sequence[str], rows: int = CHUNK_ROWS
    ) -> Iterator[Chunk]:
        """Chunks of `rows` rows, the last up to twice as large; an empty one for an empty table.

        No value depends on the values around it: CSV is text, Parquet has the types of its file.
        Columns in `numeric` are float64 where Arrow reads every value as `read_number` would.
        Raises SourceError for a damaged table.
        """
        wanted = [name for name in dict.fromkeys(columns) if name in self.names]
        first = 1
        with _reading(self._path):
            for table, last in _regroup(self._batches(wanted), rows):
                found = {name: _plain(table.column(name)) for name in wanted}
                typed = {
                    name: _numbers(column) if name in numeric else column
                    for name, column in found.items()
                }
                frame = (
                    pa.table(typed).to_pandas(integer_object_nulls=True)
                    if typed
                    else _rows_only(table.num_rows)
                )
                yield Chunk(frame, found, first, last and first == 1)
                first += table.num_rows

    def _batches(self, wanted: Sequence[str]) -> Iterator[Any]:
        raise NotImplementedError


class _CsvReader(ChunkReader):
    def __init__(self, path: Path, expected: Sequence[str], delimiter: str | None) -> None:
        super().__init__(path)
        self._raw: Any = None
        delimiter = delimiter or _find_delimiter(self._text().read(_BLOCK_BYTES), expected)
        self._parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        self.names = tuple(self._open(pyarrow.csv.ConvertOptions()).schema.names)
        self.size = path.stat().st_size

    @property
    def done(self) -> int:
        # Arrow closes a file that it has read to the end.
        return self.size if self._raw.closed else int(self._raw.tell())

    def _text(self) -> Any:
        self._raw = pa.OSFile(str(self._path))
        compression = _COMPRESSION.get(self._path.suffix)
        return pa.CompressedInputStream(self._raw, compression) if compression else self._raw

    def _open(self, convert: Any) -> Any:
        # Threads would read ahead as far as they can.
        read = pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
        return pyarrow.csv.open_csv(
            self._text(), read_options=read, parse_options=self._parse, convert_options=convert
        )

    def _batches(self, wanted: Sequence[str]) -> Iterator[Any]:
        places = [self.names.index(name) for name in wanted]
        texts = {name: pa.string() for name in self.names}
        convert = pyarrow.csv.ConvertOptions(
            column_types=texts, strings_can_be_null=True, null_values=[""]
        )
        reader = self._open(convert)
        yield pa.record_batch([pa.array([], pa.string())] * len(places), names=list(wanted))
        for batch in reader:
            yield batch.select(places)


class _ParquetReader(ChunkReader):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # Without these two, whole row groups are read at once, and a file may have only one.
        self._file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
        self.names, self.size = tuple(self._file.schema_arrow.names), self._file.metadata.num_rows
        self._done = 0

    @property
    def done(self) -> int:
        return self._done

    def _batches(self, wanted: Sequence[str]) -> Iterator[Any]:
        places = [self.names.index(name) for name in wanted]
        schema = self._file.schema_arrow
        yield pa.RecordBatch.from_arrays(
            [pa.array([], schema.field(place).type) for place in places], names=list(wanted)
        )
        for batch in self._file.iter_batches(
            batch_size=CHUNK_ROWS, columns=list(wanted), use_threads=False
        ):
            self._done += batch.num_rows
            first = [batch.schema.get_all_field_indices(name)[0] for name in wanted]
            yield pa.RecordBatch.from_arrays(
                [batch.column(place) for place in first], names=list(wanted)
            )


def read_table(path: Path, source: Source) -> pd.DataFrame:
    """All rows of a file, with the settings of `source`: CSV is text, Parquet as stored.

    Raises SourceError when it cannot be read.
    """
    reader = open_table(path, (), source.delimiter)
    return next(reader.chunks(reader.names, (), _ALL_ROWS)).frame


def open_table(path: Path, expected: Sequence[str], delimiter: str | None = None) -> ChunkReader:
    """Open a CSV, TSV (also .gz, .zst) or Parquet file.

    Without `delimiter`, it is the one that finds most of the `expected` columns. Raises SourceError
    when the file is missing, damaged or of another format.
    """
    ending = find_table(path)
    with _reading(path):
        if ending == ".parquet":
            return _ParquetReader(path)
        return _CsvReader(path, expected, delimiter)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            where=str(path),
            wanted="a table that can be read to the end",
            got=_first_line(error),
            then="fix the file",
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _find_delimiter(beginning: bytes, expected: Sequence[str]) -> str:
    text = beginning.decode("utf-8-sig", errors="replace")

    def count(delimiter: str) -> int:
        header: list[str] = next(
            (row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row), []
        )
        return len(set(header) & set(expected))

    try:
        return max(_DELIMITERS, key=count)  # the first of equals
    except csv.Error:
        return ","


def _regroup(batches: Iterator[Any], rows: int) -> Iterator[tuple[Any, bool]]:
    """Tables of `rows` rows, and whether each is the last, which also takes the small rest."""
    waiting, number = [], 0
    for batch in batches:
        waiting.append(batch)
        number += batch.num_rows
        while number >= 2 * rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, rows), False
            waiting, number = table.slice(rows).to_batches(), number - rows
    yield pa.Table.from_batches(waiting), True


def _plain(column: Any) -> Any:
    """The values of a pandas categorical: each chunk has a dictionary of its own."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numbers(column: Any) -> Any:
    try:
        # Whole numbers beyond 2^53 are rounded, as Python's float() does.
        return pc.cast(column, pa.float64(), safe=not pa.types.is_integer(column.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column  # values such as ' 1,234.50 ' are read one at a time


def _rows_only(rows: int) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(index=range(rows))
