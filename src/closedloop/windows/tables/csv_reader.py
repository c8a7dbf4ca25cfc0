"""A CSV file as chunks of rows: the rows of RFC 4180, or an error that names the line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.chunk_reader import ChunkReader
from closedloop.windows.tables.column_names import read_names
from closedloop.windows.tables.csv_faults import find_fault
from closedloop.windows.tables.delimiters import refuse_another_delimiter
from closedloop.windows.tables.file_text import FileText
from closedloop.windows.tables.number_signs import has_commas, plain_numbers

_BLOCK_BYTES = 2**20  # of text at once, of which Arrow reads 32 ahead; no row may be longer


class CsvReader(ChunkReader):
    """Values are text, null where they are empty or among `null_values`."""

    def __init__(self, path: Path, source: Source, keep: Collection[str] = ()) -> None:
        super().__init__(path)
        self._source, self._thousands = source, source.thousands
        self._parse = pyarrow.csv.ParseOptions(
            delimiter=source.delimiter, quote_char=source.quote or False, newlines_in_values=True
        )
        refuse_another_delimiter(path, source)
        self._header = self._read_header()
        self.names = read_names(self._header, keep)
        self.size = path.stat().st_size

    @property
    def done(self) -> int:
        # Arrow closes a file that it has read to the end.
        return self.size if self._text.raw.closed else int(self._text.raw.tell())

    def _open(self, convert: Any) -> Any:
        self._text = FileText(self._path, self._source.encoding, self._source.quote)
        # Threads would read ahead as far as they can.
        read = pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
        return pyarrow.csv.open_csv(
            self._text, read_options=read, parse_options=self._parse, convert_options=convert
        )

    def _read_header(self) -> tuple[str, ...]:
        try:
            return tuple(self._open(pyarrow.csv.ConvertOptions()).schema.names)
        except pa.ArrowInvalid as error:
            raise self._explain(error) from None

    def _batches(self, wanted: Sequence[str]) -> Iterator[Any]:
        places = [self.names.index(name) for name in wanted]
        convert = pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in self._header},
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,  # FileText has checked it
        )
        rows = 0
        try:
            reader = self._open(convert)
            yield _select([pa.array([], pa.string())] * len(places), wanted)
            for batch in reader:
                if not rows:
                    self._look_for_commas(batch)
                rows += batch.num_rows
                yield _select([batch.column(place) for place in places], wanted)
        except pa.ArrowInvalid as error:
            raise self._explain(error) from None
        # A quote that is never closed joins rows, and Arrow takes them for one.
        joined = self._text.quotes % 2 or rows + 1 < self._text.lines
        if self._text.quotes and joined and (fault := find_fault(self._path, self._source)):
            raise fault

    def _look_for_commas(self, beginning: Any) -> None:
        """Points between thousands are believed where decimal commas stand beside them: in a file
        with points only, 1.125 may be an eighth more than 1."""
        if self._thousands == "." and not any(map(has_commas, beginning.columns)):
            self._thousands = ""

    def _blank(self, column: Any) -> Any:
        if not self._source.null_values:
            return column
        given = pc.is_in(column, value_set=pa.array(self._source.null_values, pa.string()))
        return pc.if_else(given, None, column)

    def _rewrite(self, column: Any) -> Any:
        return plain_numbers(column, self._source.decimal, self._thousands)

    def _explain(self, error: Exception) -> Exception:
        """The error that names line, wanted and got, instead of Arrow's."""
        return find_fault(self._path, self._source) or SourceError(
            where=str(self._path),
            wanted="a table that can be read to the end",
            got=(str(error).strip().splitlines() or [type(error).__name__])[0],
            then="fix the file",
        )


def _select(columns: Sequence[Any], names: Sequence[str]) -> Any:
    return pa.RecordBatch.from_arrays(list(columns), names=list(names))
