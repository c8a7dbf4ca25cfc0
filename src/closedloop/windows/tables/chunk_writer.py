"""Tables of any size, written in chunks: all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from closedloop.errors import SourceError

OUT_ENDINGS = (".csv", ".parquet")
# What a spreadsheet takes for a formula, unless it is a number.
_FORMULA = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?[0-9][0-9.,' ]*([eE][+-]?[0-9]+)?%?$"


class ChunkWriter:
    """Writes columns chunk by chunk; the first chunk sets their names and types.

    With `quote_formulas`, an apostrophe stands before each name and text that a spreadsheet would
    run. Raises SourceError when the file cannot be written.
    """

    def __init__(self, out: Path, temporary: Path, *, quote_formulas: bool = False) -> None:
        self._out, self._temporary, self._quote_formulas = out, temporary, quote_formulas
        self._writer: Any = None

    def write(self, columns: Mapping[str, Any]) -> None:
        """Columns of equal length: from a `Chunk`, arrays of numbers, or object arrays of str."""
        table = pa.table({name: _as_column(values) for name, values in columns.items()})
        if self._quote_formulas:
            table = _quote_formulas(table)
        with _writing(self._out):
            if self._writer is None:
                kind = (
                    pyarrow.csv.CSVWriter
                    if self._out.suffix.lower() == ".csv"
                    else pyarrow.parquet.ParquetWriter
                )
                self._writer = kind(str(self._temporary), table.schema)
            self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            with _writing(self._out):
                self._writer.close()


@contextmanager
def write_whole(out: Path, *, quote_formulas: bool = False) -> Iterator[ChunkWriter]:
    """A writer of `out`, CSV or Parquet by its ending; `out` appears only if the block succeeds."""
    temporary = out.with_name(f".{out.name}.part")
    writer = ChunkWriter(out, temporary, quote_formulas=quote_formulas)
    try:
        with _writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        yield writer
        writer.close()
        with _writing(out):
            temporary.replace(out)
    except BaseException:
        with suppress(SourceError):  # the error already being raised says more
            writer.close()
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        got = getattr(error, "strerror", None) or said[0]
        raise SourceError(
            where=str(out), wanted="a file that can be written", got=got, then="choose another OUT"
        ) from error


def _quote_formulas(table: Any) -> Any:
    columns = [
        _quoted(column)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        else column
        for column in table.columns
    ]
    names = _quoted(pa.array(table.column_names, pa.string())).to_pylist()
    return pa.Table.from_arrays(columns, names=names)


def _quoted(texts: Any) -> Any:
    runs = pc.and_not(
        pc.match_substring_regex(texts, _FORMULA), pc.match_substring_regex(texts, _NUMBER)
    )
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def _as_column(values: Any) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return values
    return pa.array(values, pa.string() if values.dtype == object else None)
