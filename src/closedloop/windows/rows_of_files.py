"""Files whose rows say which window they are in: by a column with its name, or by their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.sources import choose_rows, regroup
from closedloop.windows.tables.chunks import FileRows, open_table, read_table
from closedloop.windows.tables.table_file import holds_nothing
from closedloop.windows.time_column import TimedRows, cut_by_time, read_times, utc_now

if TYPE_CHECKING:
    import pandas as pd

# Larger files are read once for each window, and not kept.
KEPT_BYTES = 2**27


@dataclass(frozen=True)
class RowsOfFiles:
    """The rows of `files` written alike, in their order; `place` names them in errors.

    `numeric` are as in `FilesSource`.
    """

    files: tuple[Path, ...]
    source: Source
    numeric: tuple[str, ...]
    place: str
    now: Callable[[], datetime] = utc_now

    @cached_property
    def timed(self) -> TimedRows:
        """The rows, cut by `time_column`."""
        times = self._kept[self._column_name] if self._is_kept else self._column(self._read_times)
        return cut_by_time(times.to_frame(), self.source, self.place, self.now)

    @cached_property
    def window(self) -> pd.Series[Any]:
        """The name of the window of each row; null where it is in none."""
        if self.source.time_column is not None:
            return self.timed.window
        return _name(self._kept[self._column_name]) if self._is_kept else self._column(_name)

    def remarks(self) -> tuple[str, ...]:
        """What is in no window, in words."""
        if self.source.time_column is not None:
            return self.timed.remarks()
        return tell_without_window(self.window)

    def read(self, window: str) -> pd.DataFrame:
        """The rows of a window, without the column that says so."""
        if not self._is_kept:
            return next(self.chunks(window, len(self.window)))
        chosen = self._kept[self.window == window]
        return chosen.drop(columns=[self._column_name]).reset_index(drop=True)

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """As `InChunks.chunks`. Large files are passed over once for each window."""
        if self._is_kept:
            yield from regroup(iter([self.read(window)]), rows)
        else:
            yield from regroup(self._choose(window), rows)

    def _choose(self, window: str) -> Iterator[pd.DataFrame]:
        inside = (self.window == window).to_numpy()
        for chosen in choose_rows(self._read_parts(), inside, self.place):
            yield chosen.drop(columns=[self._column_name], errors="ignore")

    def _read_parts(self) -> Iterator[pd.DataFrame]:
        """The rows of all files, some at a time."""
        for path in self._filled:
            names = open_table(path, self.source).names
            yield from FileRows((path,), self.source).chunks(names, self.numeric)

    @property
    def _column_name(self) -> str:
        """The column."""
        return self.source.time_column or self.source.window_column or ""

    @cached_property
    def _is_kept(self) -> bool:
        return sum(path.stat().st_size for path in self.files) <= KEPT_BYTES

    @cached_property
    def _filled(self) -> tuple[Path, ...]:
        """The files that hold anything."""
        return tuple(path for path in self.files if not holds_nothing(path))

    @cached_property
    def _kept(self) -> pd.DataFrame:
        """All rows."""
        import pandas as pd

        frames = [
            pd.DataFrame() if holds_nothing(path) else read_table(path, self.source, self.numeric)
            for path in self.files
        ]
        rows = (
            pd.concat(frames, ignore_index=True)
            if frames
            else pd.DataFrame({self._column_name: []})
        )
        self._require_column(tuple(map(str, rows.columns)))
        return rows

    def _column(self, convert: Callable[[pd.Series[Any]], pd.Series[Any]]) -> pd.Series[Any]:
        """What is made of the column in all rows, some at a time."""
        import pandas as pd

        names: dict[str, None] = {}
        parts: list[pd.Series[Any]] = []
        for path in self._filled:
            names |= dict.fromkeys(open_table(path, self.source).names)
            for frame in FileRows((path,), self.source).chunks([self._column_name], ()):
                without = pd.Series(None, index=frame.index, dtype=object, name=self._column_name)
                parts.append(convert(frame.get(self._column_name, without)))
        self._require_column(tuple(names))
        return pd.concat(parts, ignore_index=True)

    def _read_times(self, column: pd.Series[Any]) -> pd.Series[Any]:
        return read_times(column, self.source.timezone, self.source.date_format)

    def _require_column(self, names: Sequence[str]) -> None:
        """`cut_by_time` says the same of a column of times."""
        if self._column_name not in names and self.source.time_column is None:
            raise SourceError(
                where=self.place,
                wanted=f"the column {self._column_name}, which names the window of a row",
                got=f"the columns {', '.join(names[:12])}",
                then="fix window_column in [source]",
            )


def tell_without_window(window: pd.Series[Any]) -> tuple[str, ...]:
    """That rows have no window in the column that names it, such as a line of totals."""
    without = int(window.isna().sum())
    if not without:
        return ()
    return (f"{without:,} of {len(window):,} rows have no {window.name}: they are in no window",)


def _name(column: pd.Series[Any]) -> pd.Series[Any]:
    """Names of windows as text, each text once; null where there is none."""
    return column.astype(str).where(column.notna()).astype("category").astype(object)
