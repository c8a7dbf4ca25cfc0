"""Windows in files under one folder: read as they are, or by the query of loop.toml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.errors import SourceError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.source import Source
from closedloop.windows.rows_of_files import RowsOfFiles
from closedloop.windows.sources import NoWindows, UnreadableWindow, require_window
from closedloop.windows.tables.query_files import query_chunks, query_files
from closedloop.windows.tables.table_file import COMPRESSED, holds_nothing
from closedloop.windows.time_column import require_finished, utc_now
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
            return require_finished(self.rows.timed, self._place)
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
        if self._splits_files:
            return self.rows.read(window)
        with _reading():
            return self._read_file(self._files()[window])

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """As `InChunks.chunks`."""
        require_window(window, self.windows(), f"source root {self.root}")
        if self.source.query is not None:
            yield from query_chunks(self.source.query, self.root, f"window {window}", window, rows)
        elif self._splits_files:
            yield from self.rows.chunks(window, rows)
        elif holds_nothing(path := self._files()[window]):
            yield self._read_file(path)
        else:
            from closedloop.windows.tables.chunks import open_table

            with _reading():
                reader = open_table(path, self.source)
                for chunk in reader.chunks(reader.names, self.numeric, rows):
                    yield chunk.frame

    def _names(self) -> set[str]:
        if self.source.windows_query is not None:
            return self._query_names()
        return set(self.rows.window.dropna()) if self._splits_files else set(self._files())

    @cached_property
    def rows(self) -> RowsOfFiles:
        """The rows of all files, where a column says which window a row is in."""
        files = self._files()
        in_order = tuple(files[name] for name in sorted(files))
        return RowsOfFiles(in_order, self.source, self.numeric, self._place, self.now)

    def remarks(self) -> tuple[str, ...]:
        """What is in no window, in words."""
        return self.rows.remarks() if self._splits_files else ()

    @property
    def _splits_files(self) -> bool:
        """Whether a file holds rows of several windows."""
        column = self.source.time_column or self.source.window_column
        return column is not None and self.source.query is None

    @property
    def _place(self) -> str:
        return f"source root {self.root}, files {self.source.windows}"

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


@contextmanager
def _reading() -> Iterator[None]:
    """What is wrong with the file of a window is wrong with this window alone."""
    try:
        yield
    except SourceError as error:
        raise UnreadableWindow(
            where=error.where, wanted=error.wanted, got=error.got, then=error.then
        ) from error


def _without_ending(path: Path, root: Path) -> str:
    if (root / path).is_dir():
        return path.as_posix()
    bare = path.with_suffix("") if path.suffix in COMPRESSED else path
    return bare.with_suffix("").as_posix()
