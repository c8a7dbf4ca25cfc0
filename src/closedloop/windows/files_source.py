"""Windows in files: CSV, Parquet and JSON under one folder, read by the query of loop.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.use_case.contract import Source, UseCase
from closedloop.windows.sources import NoWindows, fill_query, in_time_order, require_window
from closedloop.windows.table_file import COMPRESSED, query_files

if TYPE_CHECKING:
    import pandas as pd


def root_folder(use_case: UseCase, data: Path | None = None) -> Path:
    """The folder with the files: `data` if given, otherwise `root` beside loop.toml."""
    if data is not None:
        return data.expanduser().resolve()
    return (use_case.path.parent / use_case.source.root).resolve()


@dataclass(frozen=True)
class FilesSource:
    """Files under one folder, read by a DuckDB query."""

    source: Source
    root: Path

    def windows(self) -> tuple[str, ...]:
        if not self.root.is_dir():
            raise self._no_windows("a folder with windows", "no such folder")
        names = self._list_files() if self.source.windows is not None else self._query_names()
        if not names:
            pattern = self.source.windows
            raise self._no_windows(
                f"windows named {pattern}" if pattern else "rows from windows_query", "none"
            )
        return in_time_order(names)

    def read(self, window: str) -> pd.DataFrame:
        require_window(window, self.windows(), f"source root {self.root}")
        return query_files(
            fill_query(self.source.query, root=self.root.as_posix(), window=window),
            f"window {window} in {self.root}",
        )

    def _list_files(self) -> set[str]:
        found = (path.relative_to(self.root) for path in self.root.glob(self.source.windows or "*"))
        # A name that starts with a dot is a hidden file, or one that is still being written.
        return {
            _without_ending(path, self.root)
            for path in found
            if not any(part.startswith(".") for part in path.parts)
        }

    def _query_names(self) -> set[str]:
        rows = query_files(
            fill_query(self.source.windows_query or "", root=self.root.as_posix()),
            f"windows_query in {self.root}",
        )
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


def _without_ending(path: Path, root: Path) -> str:
    if (root / path).is_dir():
        return path.as_posix()
    bare = path.with_suffix("") if path.suffix in COMPRESSED else path
    return bare.with_suffix("").as_posix()
