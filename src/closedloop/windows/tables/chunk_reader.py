"""A table of any size as chunks of rows, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from closedloop.errors import SourceError
from closedloop.windows.tables.read_ahead import read_ahead
from closedloop.windows.tables.row_sample import RowSample, RowSampler

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 50_000


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows. `first_row` counts from 1; `whole` when this is the entire table.

    `frame` holds the requested columns, the first one of each name; `columns` holds these and the
    `beside` ones unchanged, for a `ChunkWriter`.
    """

    frame: pd.DataFrame
    columns: Mapping[str, Any]
    first_row: int
    whole: bool


class ChunkReader:
    """One table: its column `names`, its `size`, and how much of it is `done`.

    Both are bytes for a CSV file, rows for a Parquet file. A nameless column is '' in `names` and
    never read.
    """

    names: tuple[str, ...]
    size: int

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def nameless(self) -> tuple[int, ...]:
        """Places, from 1, of the columns without a name."""
        return tuple(place for place, name in enumerate(self.names, start=1) if not name)

    @property
    def done(self) -> int:
        """0 to `size`; CSV text that was read ahead counts as done."""
        raise NotImplementedError

    def chunks(
        self,
        columns: Sequence[str],
        numeric: Sequence[str],
        rows: int = CHUNK_ROWS,
        beside: Sequence[str] = (),
    ) -> Iterator[Chunk]:
        """Chunks of `rows` rows, the last up to twice as large; an empty one for an empty table.

        No value depends on the values around it: CSV is text, Parquet has the types of its file.
        Columns in `numeric` are float64 where Arrow reads every value as `read_number` would,
        otherwise text with a decimal point, if they fit the signs of the file.
        Raises SourceError for a damaged table.
        """
        asked = dict.fromkeys(columns)
        wanted = [name for name in {**asked, **dict.fromkeys(beside)} if name in self.names if name]
        first = 1
        with reading(self._path):
            for table, last in _regroup(self._batches(wanted), rows):
                found = {name: _plain(table.column(name)) for name in wanted}
                known = {name: self._blank(found[name]) for name in asked if name in found}
                typed = {
                    name: _numbers(self._rewrite(column)) if name in numeric else column
                    for name, column in known.items()
                }
                frame = (
                    pa.table(typed).to_pandas(integer_object_nulls=True)
                    if typed
                    else _rows_only(table.num_rows)
                )
                yield Chunk(frame, found, first, last and first == 1)
                first += table.num_rows

    def sample(self, sampler: RowSampler, whole: str | None = None) -> RowSample:
        """Rows drawn by `sampler`, as `chunks` has them; of the column `whole` all values, too.

        Raises SourceError for a damaged table.
        """
        names = [name for name in self.names if name]
        parts, drawn, every, rows = [], list[NDArray[np.float64]](), list[Any](), 0
        with reading(self._path):
            for table, _ in read_ahead(_regroup(self._batches(names), CHUNK_ROWS)):
                chances, stay = sampler.draw(table.num_rows)
                places, rows = rows + np.flatnonzero(stay), rows + table.num_rows
                parts.append(table if stay.all() else table.filter(pa.array(stay)))
                drawn.append(np.stack([places, chances[stay]]))
                if whole in names:
                    every.append(table.select([whole]))
                if sampler.are_too_many(sum(part.shape[1] for part in drawn)):
                    drawn = [np.concatenate(drawn, axis=1)]
                    stay = sampler.cut(drawn[0][1])
                    parts = [pa.concat_tables(parts).filter(pa.array(stay))]
                    drawn = [drawn[0][:, stay]]
            places, chances = np.concatenate(drawn, axis=1)
            frame = self._to_frame(pa.concat_tables(parts), names)
            column = (
                self._to_frame(pa.concat_tables(every), [whole])[whole]
                if every and whole is not None
                else None
            )
        return RowSample(frame, rows, places.astype(np.int64), chances, column)

    def _to_frame(self, table: Any, names: Sequence[str]) -> pd.DataFrame:
        typed = {name: self._blank(_plain(table.column(name))) for name in names}
        if not typed:
            return _rows_only(table.num_rows)
        frame: pd.DataFrame = pa.table(typed).to_pandas(integer_object_nulls=True)
        return frame

    def _batches(self, wanted: Sequence[str]) -> Iterator[Any]:
        raise NotImplementedError

    def _blank(self, column: Any) -> Any:
        """The column with nulls for what the file writes in the place of a value."""
        return column

    def _rewrite(self, column: Any) -> Any:
        """Numbers as the file writes them -> as `read_number` reads them."""
        return column


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what Arrow raises into SourceError."""
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
