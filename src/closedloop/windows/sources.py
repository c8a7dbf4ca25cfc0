"""Read raw windows: files through DuckDB, SQL through SQLAlchemy, or one source continued by
another.

Columns come as they are stored; `schema.prepare` gives them their types, and the contract says what
is absent.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from closedloop.errors import SourceError
from closedloop.use_case.contract import Source, UseCase

if TYPE_CHECKING:
    import pandas as pd

_COMPRESSED = (".gz", ".zst")
_TABLE_ENDINGS = (".csv", ".tsv", ".parquet")


class NoWindows(SourceError):
    """The source can be read and holds no window."""


class WindowSource(Protocol):
    """Something that holds windows of raw rows."""

    def windows(self) -> tuple[str, ...]:
        """Names in time order. Raises NoWindows when there are none, SourceError when they cannot
        be listed."""

    def read(self, window: str) -> pd.DataFrame:
        """The raw rows of one window. Raises SourceError for an unknown window and for rows that
        cannot be read."""


def open_source(
    use_case: UseCase, data: Path | None = None, environ: Mapping[str, str] | None = None
) -> WindowSource:
    """The source that loop.toml describes. `data` (CLOSEDLOOP_DATA) replaces its root; `environ`
    holds the `$NAME` of a url."""
    if use_case.source.kind == "sql":
        return SqlSource(
            use_case.source, _url(use_case, os.environ if environ is None else environ)
        )
    return FilesSource(use_case.source, root_folder(use_case, data))


def root_folder(use_case: UseCase, data: Path | None = None) -> Path:
    """The folder of a files source: `data` when given, else `root` beside loop.toml."""
    return (
        data.expanduser().resolve()
        if data is not None
        else (use_case.path.parent / use_case.source.root).resolve()
    )


def _url(use_case: UseCase, environ: Mapping[str, str]) -> str:
    url = use_case.source.url or ""
    if not url.startswith("$"):
        return url
    name = url.removeprefix("$").strip("{}")
    if not environ.get(name):
        raise SourceError(
            where=f"{use_case.path}: source.url",
            wanted=f"the environment variable {name}",
            got="nothing set",
            then=f"set {name} to a SQLAlchemy address such as postgresql+psycopg://user:password@host/database",
        )
    return environ[name]


def in_time_order(names: set[str]) -> tuple[str, ...]:
    """Sorted with numbers as numbers: w2 comes before w10."""
    return tuple(
        sorted(
            names,
            key=lambda name: (
                [
                    (int(part), "") if part.isdecimal() else (-1, part)
                    for part in re.split(r"(\d+)", name)
                ],
                name,
            ),
        )
    )


def _fill(query: str, **values: str) -> str:
    """`{root}` and `{window}` in one pass, with quotes doubled, so that a name can never become
    SQL."""
    return re.sub(
        r"\{(root|window)\}",
        lambda found: values[found[1]].replace("'", "''") if found[1] in values else found[0],
        query,
    )


def _first_line(error: Exception) -> str:
    return (
        str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    )[0]


def _known(window: str, windows: tuple[str, ...], where: str) -> None:
    if window not in windows:
        near = difflib.get_close_matches(window, windows, n=3, cutoff=0.3) or windows[-3:]
        raise SourceError(
            where=where,
            wanted=f"one of its {len(windows)} windows",
            got=repr(window),
            then=f"did you mean {' or '.join(near)}?",
        )


@dataclass(frozen=True)
class FilesSource:
    """CSV, Parquet and JSON files under one folder, read by the DuckDB query of loop.toml."""

    source: Source
    root: Path

    def windows(self) -> tuple[str, ...]:
        if not self.root.is_dir():
            raise NoWindows(
                where=f"source root {self.root}",
                wanted="a folder with windows",
                got="no such folder",
                then=self._advice(),
            )
        names = self._listed() if self.source.windows is not None else self._queried()
        if not names:
            raise NoWindows(
                where=f"source root {self.root}",
                wanted=f"windows named {self.source.windows}"
                if self.source.windows
                else "rows from windows_query",
                got="none",
                then=self._advice(),
            )
        return in_time_order(names)

    def read(self, window: str) -> pd.DataFrame:
        _known(window, self.windows(), f"source root {self.root}")
        return _query(
            _fill(self.source.query, root=self.root.as_posix(), window=window),
            f"window {window} in {self.root}",
        )

    def _listed(self) -> set[str]:
        found = (path.relative_to(self.root) for path in self.root.glob(self.source.windows or "*"))
        # Names that start with a dot are files being written, or no business of ours.
        return {
            _without_ending(path, self.root)
            for path in found
            if not any(part.startswith(".") for part in path.parts)
        }

    def _queried(self) -> set[str]:
        rows = _query(
            _fill(self.source.windows_query or "", root=self.root.as_posix()),
            f"windows_query in {self.root}",
        )
        return {str(value) for value in rows.iloc[:, 0].dropna()} if rows.shape[1] else set()

    def _advice(self) -> str:
        if self.source.generator is not None:
            return "make the built-in data with: closedloop generate (or point CLOSEDLOOP_DATA at a folder of your own)"
        return (
            "put files there, or mend root and windows in [source] (CLOSEDLOOP_DATA replaces root)"
        )


def _without_ending(path: Path, root: Path) -> str:
    if (root / path).is_dir():
        return path.as_posix()
    bare = path.with_suffix("") if path.suffix in _COMPRESSED else path
    return bare.with_suffix("").as_posix()


def _query(sql: str, where: str) -> pd.DataFrame:
    """Run one DuckDB query in memory; nothing is downloaded and nothing is kept."""
    import duckdb

    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    try:
        frame: pd.DataFrame = connection.execute(sql).df()
        return frame
    except duckdb.Error as error:
        mend = (
            "bring the missing file, or change query in [source]"
            if "No files found" in str(error)
            else "mend the query or the file"
        )
        raise SourceError(
            where=where, wanted="files that the query can read", got=_first_line(error), then=mend
        ) from None
    finally:
        connection.close()


@dataclass(frozen=True)
class SqlSource:
    """Tables of a database, read by the query of loop.toml in the database's own SQL."""

    source: Source
    url: str

    def windows(self) -> tuple[str, ...]:
        rows = self._run(self.source.windows_query or "", "windows_query")
        names = {str(value) for value in rows.iloc[:, 0].dropna()} if rows.shape[1] else set()
        if not names:
            raise NoWindows(
                where="source database",
                wanted="rows from windows_query",
                got="none",
                then="fill the table, or mend windows_query in [source]",
            )
        return in_time_order(names)

    def read(self, window: str) -> pd.DataFrame:
        _known(window, self.windows(), "source database")
        return self._run(_fill(self.source.query, window=window), f"window {window}")

    def _run(self, sql: str, where: str) -> pd.DataFrame:
        import pandas as pd
        import sqlalchemy as sa

        try:
            engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
            with engine.connect() as connection:
                # As written: text() would take a colon for a parameter, and a driver given
                # parameters a percent sign.
                result = connection.exec_driver_sql(sql)
                return pd.DataFrame(
                    [tuple(row) for row in result.fetchall()], columns=list(result.keys())
                )
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise SourceError(
                where=f"source database, {where}",
                wanted="rows",
                got=_without_password(_first_line(error), self.url),
                then="see that the database answers, and mend url or the queries in [source]",
            ) from None


def _without_password(text: str, url: str) -> str:
    found = re.search(r"://[^:/@]*:([^@]+)@", url)
    return text.replace(found[1], "***") if found else text


@dataclass(frozen=True)
class ChainedSource:
    """`first`, and after its last window `then`; a name that both have is read from `first`."""

    first: WindowSource
    then: WindowSource

    def windows(self) -> tuple[str, ...]:
        begun, ended = _names(self.first), _names(self.then)
        if not begun and not ended:
            self.first.windows()  # says what to do
        return (*begun, *(name for name in ended if name not in begun))

    def read(self, window: str) -> pd.DataFrame:
        begun, ended = _names(self.first), _names(self.then)
        if window in begun:
            return self.first.read(window)
        if window in ended:
            return self.then.read(window)
        _known(window, self.windows(), "source")
        raise AssertionError("unreachable: the window is known to neither")


def _names(source: WindowSource) -> tuple[str, ...]:
    try:
        return source.windows()
    except NoWindows:
        return ()


def read_table(path: Path) -> pd.DataFrame:
    """All rows of one CSV, TSV (all text) or Parquet file (types as stored). Raises SourceError
    when it cannot be read."""
    ending, name = find_table(path), str(path.resolve()).replace("'", "''")
    table = (
        f"read_parquet('{name}')"
        if ending == ".parquet"
        else f"read_csv('{name}', all_varchar = true)"
    )
    return _query(f"SELECT * FROM {table}", str(path))


def find_table(path: Path) -> str:
    """The ending that tells the format of a table. Raises SourceError when there is no such file or
    no such format."""
    if not path.is_file():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        raise SourceError(
            where=str(path),
            wanted="a CSV or Parquet file",
            got="a folder" if path.is_dir() else "nothing there",
            then=f"did you mean {near[0]}?" if near else "name a file that exists",
        )
    ending = table_ending(path)
    if ending not in _TABLE_ENDINGS:
        raise SourceError(
            where=str(path),
            wanted=f"a file ending in {', '.join(_TABLE_ENDINGS)} (or .csv.gz)",
            got=path.suffix or "no ending",
            then="convert or rename the file",
        )
    return ending


def table_ending(path: Path) -> str:
    """The ending that tells the format: '.csv' for a.csv and a.csv.gz."""
    return (path.with_suffix("") if path.suffix in _COMPRESSED else path).suffix.lower()


def write_generated(
    use_case: UseCase, data: Path | None, windows: Mapping[str, Mapping[str, pd.DataFrame]]
) -> tuple[str, ...]:
    """Write generated windows under the source's root: `windows` holds, by window, frames by file
    name ('' for a single file).

    A window appears whole or not at all, and one that is there unchanged is left alone. Returns the
    names written.
    """
    root = root_folder(use_case, data)
    try:
        root.mkdir(parents=True, exist_ok=True)
        return tuple(name for name, tables in windows.items() if _write_window(root, name, tables))
    except OSError as error:
        raise SourceError(
            where=f"source root {root}",
            wanted="a folder that can be written",
            got=str(error),
            then="mend its permissions",
        ) from None


def _write_window(root: Path, name: str, tables: Mapping[str, pd.DataFrame]) -> bool:
    single = set(tables) == {""}
    place = root / (f"{name}.csv" if single else name)
    content = {
        table: frame.to_csv(index=False, lineterminator="\n").encode()
        for table, frame in tables.items()
    }
    there = {table: place if single else place / f"{table}.csv" for table in tables}
    if all(path.is_file() and path.read_bytes() == content[table] for table, path in there.items()):
        return False
    with tempfile.TemporaryDirectory(dir=root, prefix=".writing-") as folder:
        new = Path(folder) / place.name
        if single:
            new.write_bytes(content[""])
        else:
            new.mkdir()
            for table, text in content.items():
                (new / f"{table}.csv").write_bytes(text)
            if place.exists():
                shutil.move(place, Path(folder) / "old")  # a folder cannot be renamed over another
        new.replace(place)
    return True
