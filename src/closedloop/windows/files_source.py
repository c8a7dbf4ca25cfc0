"""Windows in files under one folder: read as they are, or by the query of loop.toml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.errors import SourceError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.source import Source
from closedloop.windows.sources import NoWindows, UnreadableWindow, require_window
from closedloop.windows.tables.query_files import query_files
from closedloop.windows.tables.table_file import COMPRESSED, holds_nothing
from closedloop.windows.time_column import TimedRows, cut_by_time, require_finished, utc_now
from closedloop.windows.time_names import in_time_order

if TYPE_CHECKING:
    import pandas as pd


def root_folder(use_case: UseCase, data: Path | None = None) -> Path:
    """The folder with the files: `data` if given, otherwise `root` beside loop.toml."""
    if data is not None:
        return data.expanduser().resolve()
    return (use_case.path.parent / use_case.source.root).resolve()


@dataclass(frozen=True)
class FilesSource:
    """Files under one folder; with a query, DuckDB reads them.

    `numeric` are the columns whose values are numbers, with the signs of the source.
    """

    source: Source
    root: Path
    numeric: tuple[str, ...] = ()
    now: Callable[[], datetime] = utc_now

    def windows(self) -> tuple[str, ...]:
        if not self.root.is_dir():
            raise self._no_windows("a folder with windows", "no such folder")
        if self.source.time_column is not None and self._files():
            return require_finished(self.timed, self._place)
        names = self._names()
        if not names:
            pattern = self.source.windows
            raise self._no_windows(
                f"windows named {pattern}" if pattern else "rows from windows_query", "none"
            )
        return in_time_order(names)

    def read(self, window: str) -> pd.DataFrame:
        require_window(window, self.windows(), f"source root {self.root}")
        if self.source.query is not None:
            return query_files(self.source.query, self.root, f"window {window}", window)
        if self.source.time_column is not None:
            rows = self._all_rows[self.timed.window == window]
            return rows.drop(columns=[self.source.time_column]).reset_index(drop=True)
        if self.source.window_column is None:
            try:
                return self._read_file(self._files()[window])
            except SourceError as error:
                raise UnreadableWindow(
                    where=error.where, wanted=error.wanted, got=error.got, then=error.then
                ) from error
        rows, column = self._all_rows, self.source.window_column
        chosen = rows[_names_of(rows[column]) == window]
        return chosen.drop(columns=[column]).reset_index(drop=True)

    def _names(self) -> set[str]:
        if self.source.windows_query is not None:
            return self._query_names()
        if self.source.window_column is None or self.source.query is not None:
            return set(self._files())
        return set(_names_of(self._all_rows[self.source.window_column]).dropna())

    @cached_property
    def timed(self) -> TimedRows:
        """The rows of all files, cut by `time_column`."""
        return cut_by_time(self._all_rows, self.source, self._place, self.now)

    def remarks(self) -> tuple[str, ...]:
        """What is in no window, in words."""
        if self.source.time_column is not None:
            return self.timed.remarks()
        column = self.source.window_column
        return () if column is None else tell_without_window(self._all_rows[column])

    @property
    def _place(self) -> str:
        return f"source root {self.root}, files {self.source.windows}"

    @cached_property
    def _all_rows(self) -> pd.DataFrame:
        """The rows of all files, read once: windows are parts of them."""
        import pandas as pd

        files, column = self._files(), self.source.window_column
        frames = [self._read_file(files[name]) for name in sorted(files)]
        rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({column: []})
        if column is not None and column not in rows.columns:
            raise SourceError(
                where=self._place,
                wanted=f"the column {column}, which names the window of a row",
                got=f"the columns {', '.join(map(str, rows.columns[:12]))}",
                then="fix window_column in [source]",
            )
        return rows

    def _read_file(self, path: Path) -> pd.DataFrame:
        """The rows of a file; none, without columns, of one that holds nothing."""
        import pandas as pd

        from closedloop.windows.tables.chunks import read_table

        return (
            pd.DataFrame() if holds_nothing(path) else read_table(path, self.source, self.numeric)
        )

    def _files(self) -> dict[str, Path]:
        """Every match of the pattern, by the name of its window."""
        found = (path.relative_to(self.root) for path in self.root.glob(self.source.windows or "*"))
        # A name that starts with a dot is a hidden file, or one that is still being written.
        return {
            _without_ending(path, self.root): self.root / path
            for path in found
            if not any(part.startswith(".") for part in path.parts)
        }

    def _query_names(self) -> set[str]:
        rows = query_files(self.source.windows_query or "", self.root, "windows_query")
        return {str(value) for value in rows.iloc[:, 0].dropna()} if rows.shape[1] else set()

    def _no_windows(self, wanted: str, got: str) -> NoWindows:
        if self.source.generator is not None:
            then = (
                "generate the built-in data with: closedloop generate "
                "(or point CLOSEDLOOP_DATA at your own folder)"
            )
        else:
            then = "add files, or fix root and windows in [source] (CLOSEDLOOP_DATA replaces root)"
        return NoWindows(where=f"source root {self.root}", wanted=wanted, got=got, then=then)


def tell_without_window(column: pd.Series[Any]) -> tuple[str, ...]:
    """That rows have no window in the column that names it, such as a line of totals."""
    without = int(column.isna().sum())
    if not without:
        return ()
    return (f"{without:,} of {len(column):,} rows have no {column.name}: they are in no window",)


def _names_of(column: pd.Series[Any]) -> pd.Series[Any]:
    """Names of windows as text; null where there is none."""
    return column.astype(str).where(column.notna())


def _without_ending(path: Path, root: Path) -> str:
    if (root / path).is_dir():
        return path.as_posix()
    bare = path.with_suffix("") if path.suffix in COMPRESSED else path
    return bare.with_suffix("").as_posix()
