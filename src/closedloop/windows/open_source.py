"""Chooses the source that loop.toml describes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from closedloop.errors import SourceError
from closedloop.use_case.contract import UseCase
from closedloop.windows.files_source import FilesSource, root_folder
from closedloop.windows.new_rows_source import NewRowsSource
from closedloop.windows.sources import WindowSource
from closedloop.windows.sql_source import SqlSource


def open_source(
    use_case: UseCase, data: Path | None = None, environ: Mapping[str, str] | None = None
) -> WindowSource:
    """The source of a use case; nothing is read yet.

    `data` (CLOSEDLOOP_DATA) replaces the root of a files source; `environ` resolves a url that is
    written as `$NAME`. Raises SourceError when that variable is not set.
    """
    source: WindowSource
    if use_case.source.kind == "sql":
        url = _resolve_url(use_case, os.environ if environ is None else environ)
        source = SqlSource(use_case.source, url)
    else:
        source = FilesSource(use_case.source, root_folder(use_case, data), use_case.numeric)
    return NewRowsSource(source, use_case) if use_case.source.new_rows else source


def _resolve_url(use_case: UseCase, environ: Mapping[str, str]) -> str:
    url = use_case.source.url or ""
    if not url.startswith("$"):
        return url
    name = url.removeprefix("$").strip("{}")
    if not environ.get(name):
        example = "postgresql+psycopg://user:password@host/database"
        raise SourceError(
            where=f"{use_case.path}: source.url",
            wanted=f"the environment variable {name}",
            got="nothing set",
            then=f"set {name} to a SQLAlchemy address such as {example}",
        )
    return environ[name]
