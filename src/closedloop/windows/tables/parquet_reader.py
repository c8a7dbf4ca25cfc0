"""A Parquet file as chunks of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from closedloop.windows.tables.chunk_reader import CHUNK_ROWS, ChunkReader
from closedloop.windows.tables.column_names import read_names


class ParquetReader(ChunkReader):
    """Values have the types of the file."""

    def __init__(self, path: Path, keep: Collection[str] = ()) -> None:
        super().__init__(path)
        # Without these two, whole row groups are read at once, and a file may have only one.
        self._file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
        self.names = read_names(self._file.schema_arrow.names, keep)
        self.size = self._file.metadata.num_rows
        self._done = 0

    @property
    def done(self) -> int:
        return self._done

    def _batches(self, wanted: Sequence[str]) -> Iterator[Any]:
        fields = [self._file.schema_arrow.field(self.names.index(name)) for name in wanted]
        yield pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in fields], names=list(wanted)
        )
        for batch in self._file.iter_batches(
            batch_size=CHUNK_ROWS, columns=[field.name for field in fields], use_threads=False
        ):
            self._done += batch.num_rows
            first = [batch.schema.get_all_field_indices(field.name)[0] for field in fields]
            yield pa.RecordBatch.from_arrays(
                [batch.column(place) for place in first], names=list(wanted)
            )
