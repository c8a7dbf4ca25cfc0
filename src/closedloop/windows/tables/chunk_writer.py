"""Tables of any size, written in chunks: all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from closedloop.errors import SourceError

OUT_ENDINGS = (".csv", ".parquet")


class ChunkWriter:
    """Writes columns chunk by chunk; the first chunk sets their names and types.

    Raises SourceError when the file cannot be written.
    """

    def __init__(self, out: Path, temporary: Path) -> None:
        self._out, self._temporary = out, temporary
        self._writer: Any = None

    def write(self, columns: Mapping[str, Any]) -> None:
        """Columns of equal length: from a `Chunk`, arrays of numbers, or object arrays of str."""
        table = pa.table({name: _as_column(values) for name, values in columns.items()})
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
def write_whole(out: Path) -> Iterator[ChunkWriter]:
    """A writer of `out`, CSV or Parquet by its ending; `out` appears only if the block succeeds."""
    temporary = out.with_name(f".{out.name}.part")
    writer = ChunkWriter(out, temporary)
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


def _as_column(values: Any) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return values
    return pa.array(values, pa.string() if values.dtype == object else None)
