"""Opens a table file of any format: the one door of init, doctor, monitor and predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.use_case.source import Source
from closedloop.windows.tables.chunk_reader import CHUNK_ROWS, Chunk, ChunkReader, reading
from closedloop.windows.tables.column_names import refuse_names_alike
from closedloop.windows.tables.delimiters import find_delimiter, read_beginning
from closedloop.windows.tables.file_text import find_encoding
from closedloop.windows.tables.read_ahead import read_ahead
from closedloop.windows.tables.table_file import find_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CHUNK_ROWS", "Chunk", "ChunkReader", "FileRows", "open_table", "read_all", "read_table"]

_ALL_ROWS = 2**62


def read_table(path: Path, source: Source, numeric: Sequence[str] = ()) -> pd.DataFrame:
    """All rows of a file, with the settings of `source`: CSV is text, Parquet as stored.

    Columns in `numeric` are as `ChunkReader.chunks` has them. Raises SourceError when the file
    cannot be read.
    """
    return read_all(open_table(path, source), numeric)


@dataclass(frozen=True)
class FileRows:
    """All rows of files written alike, in the order of the files."""

    files: tuple[Path, ...]
    source: Source

    def chunks(self, columns: Sequence[str], numeric: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The rows of these columns, as `ChunkReader.chunks` has them, some at a time.

        Raises SourceError for a damaged file.
        """
        for path in self.files:
            reader = open_table(path, self.source)
            for chunk in read_ahead(reader.chunks(columns, numeric, CHUNK_ROWS)):
                yield chunk.frame


def read_all(reader: ChunkReader, numeric: Sequence[str] = ()) -> pd.DataFrame:
    """All rows of an open table. Raises SourceError when it cannot be read to the end."""
    chunks = list(reader.chunks(reader.names, numeric, _ALL_ROWS))
    return chunks[0].frame


def open_table(path: Path, source: Source, expected: Sequence[str] = ()) -> ChunkReader:
    """Open a CSV, TSV (also .gz, .zst) or Parquet file, with the settings of `source`.

    A source with `query` says nothing about files: delimiter and encoding are those that find most
    of the `expected` columns, and names are not compared. Raises SourceError when the file is
    missing, damaged or of another format, or when two names are alike.
    """
    ending = find_table(path)
    keep = expected if source.query is not None else ()
    with reading(path):
        if ending == ".parquet":
            from closedloop.windows.tables.parquet_reader import ParquetReader

            reader: ChunkReader = ParquetReader(path, keep)
        else:
            from closedloop.windows.tables.csv_reader import CsvReader

            if source.query is not None:
                source = _guess(path, expected)
            reader = CsvReader(path, source, keep)
    if not keep:
        refuse_names_alike(reader.names, path)
    return reader


def _guess(path: Path, expected: Sequence[str]) -> Source:
    encoding = find_encoding(path).name or "utf-8"
    delimiter = find_delimiter(read_beginning(path, encoding), expected)
    return Source(windows=path.name, delimiter=delimiter, encoding=encoding)
