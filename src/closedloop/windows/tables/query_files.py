"""Reads files by the query of loop.toml, with DuckDB, whose only door this is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.errors import SourceError
from closedloop.windows.query_text import escape_pattern, fill_query
from closedloop.windows.sources import first_line, regroup

if TYPE_CHECKING:
    import pandas as pd

_VECTORS = 20  # of 2,048 rows


def query_files(query: str, root: Path, what: str, window: str | None = None) -> pd.DataFrame:
    """The rows of one SELECT over files below `root`, with `window` in its place.

    It reads no other file, writes none, and loads no extension. Raises SourceError, for `what` in
    `root`, when a file is missing, or when the query fails or asks for more than that.
    """
    with _answer(query, root, what, window) as answer:
        frame: pd.DataFrame = answer.df()
    return frame


def query_chunks(
    query: str, root: Path, what: str, window: str, rows: int
) -> Iterator[pd.DataFrame]:
    """As `query_files`, in chunks as `InChunks.chunks` has them."""
    with _answer(query, root, what, window) as answer:
        yield from regroup(_fetch(answer), rows)


def _fetch(answer: Any) -> Iterator[pd.DataFrame]:
    yield (part := answer.fetch_df_chunk(_VECTORS))
    while len(part):
        yield (part := answer.fetch_df_chunk(_VECTORS))


@contextmanager
def _answer(query: str, root: Path, what: str, window: str | None) -> Iterator[Any]:
    import duckdb

    values = {"root": root.as_posix()} | ({} if window is None else {"window": window})
    sql, where = fill_query(query, values), f"{what} in {root}"
    with tempfile.TemporaryDirectory(prefix="closedloop-") as rest, closing(_open(rest)) as opened:
        try:
            _require_select(opened.extract_statements(sql), where)
            folders, files = _below(root)
            opened.execute("SET allowed_directories = $1", [folders])
            opened.execute("SET allowed_paths = $1", [files])
            opened.execute("SET enable_external_access = false")
            opened.execute("SET lock_configuration = true")
            yield opened.execute(sql)
        except duckdb.Error as error:
            raise SourceError(
                where=where,
                wanted="files that the query can read",
                got=first_line(error),
                then=_advise(str(error), root),
            ) from None


def _open(rest: str) -> Any:
    import duckdb

    # What does not fit into memory goes to `rest`; the default is a folder where one happens to be.
    config = {"autoinstall_known_extensions": "false", "temp_directory": rest}
    return duckdb.connect(":memory:", config=config)


def _require_select(statements: list[Any], where: str) -> None:
    import duckdb

    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise SourceError(
            where=where,
            wanted="one SELECT",
            got=", ".join(kind.name for kind in kinds) or "no statement",
            then="fix the query in [source]: it only reads, and without settings of its own",
        )


def _below(root: Path) -> tuple[list[str], list[str]]:
    """The folder and, as folders and files, where links below it lead.

    Who may put a link there may put a file there.
    """
    # As a path and as a pattern: what is allowed is compared before the pattern is resolved.
    folders, files = [str(root), escape_pattern(str(root))], list[str]()
    for folder, inside, names in os.walk(root):
        for found, into in ((inside, folders), (names, files)):
            paths = (os.path.join(folder, name) for name in found)
            into.extend(os.path.realpath(path) for path in paths if os.path.islink(path))
    return folders, files


def _advise(error: str, root: Path) -> str:
    if "No files found" in error:
        return "add the missing file, or change query in [source]"
    if "disabled by configuration" in error:
        return f"read only files below {root}: move them there, or change root in [source]"
    return "fix the query or the file"
