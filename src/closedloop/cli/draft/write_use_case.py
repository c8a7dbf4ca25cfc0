"""Write the loop.toml of `closedloop init`: all or nothing, and only one that can be read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from closedloop.cli.draft.columns import check_column_exists
from closedloop.cli.draft.files import ChosenFiles, choose_files, is_window_name
from closedloop.cli.draft.large_table import EveryRow, LargeTable
from closedloop.cli.draft.leaks import mark_leaks
from closedloop.cli.draft.loop_toml import Draft, describe_table
from closedloop.cli.draft.source import split_ending
from closedloop.cli.draft.sql import is_database, read_database
from closedloop.cli.draft.windows import TimeOptions, name_windows
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.source import Source
from closedloop.windows.prepare import select_column
from closedloop.windows.tables.chunks import FileRows
from closedloop.windows.tables.dialect import FoundTable, find_table_source

# A guess does not need every row of many files.
_MOST_FILES, _MOST_ROWS = 12, 200_000
MOST_LOOKED_AT = 30_000
_GENERIC = ("data", "dataset", "train", "training", "table", "export", "rows", "file")


@dataclass(frozen=True)
class Asked:
    """What `closedloop init` is asked for.

    `dialect` are the settings of a CSV file that are given; the others are found.
    """

    target: str
    out: Path
    key: str | None = None
    group: str | None = None
    window_column: str | None = None
    positive: str | None = None
    dialect: Mapping[str, Any] = field(default_factory=dict)
    times: TimeOptions = field(default_factory=TimeOptions)
    name: str | None = None
    query: str | None = None
    table: str | None = None
    force: bool = False
    most_looked_at: int = MOST_LOOKED_AT
    """Rows of a table that are looked at one by one; of more, a sample."""

    @property
    def by_column(self) -> bool:
        """Whether a column cuts the rows into windows."""
        return self.window_column is not None or self.times.column is not None

    @property
    def named(self) -> list[str]:
        """Columns that the table should have."""
        named = (self.target, self.key, self.group, self.window_column, self.times.column)
        return [column for column in named if column]


def write_use_case(tables: Sequence[Path | str], asked: Asked) -> tuple[UseCase, tuple[str, ...]]:
    """Read the table, write the commented file; the use case that it describes, and notes on it.

    `tables` are a file, a folder of files, several files of one folder, or the address of a
    database. Raises UseCaseError when `out` exists (without `force`) or cannot be written, or when
    the table does not fit; SourceError when it cannot be read. An error leaves no file behind.
    """
    out = asked.out / "loop.toml" if asked.out.is_dir() else asked.out
    if out.exists() and not asked.force:
        raise UseCaseError(
            where=str(out),
            wanted="a new file",
            got="one that exists",
            then="choose another --out, or add --force",
        )
    read = _read_database(str(tables[0]), asked) if is_database(tables[0]) else None
    read = read or _read_files([Path(table) for table in tables], asked)
    cut = _cut(read, asked)
    draft = describe_table(
        cut.frame,
        read.table,
        name=asked.name or read.name,
        target=asked.target,
        key=asked.key,
        group=asked.group,
        source=cut.source,
        remarks=read.remarks,
        out=out,
        positive=asked.positive,
        windows=read.windows,
        large=cut.large,
    )
    draft = _write(draft, out, cut.frame)
    return load_use_case(out), (*read.notes, *cut.notes, *read.remarks, *draft.notes)


@dataclass(frozen=True)
class _Rows:
    """What was read: rows, where they are, the window of each if that is known, and words.

    Of a large table the rows are a sample, and `every` stands for all of them.
    """

    frame: pd.DataFrame
    table: Path
    source: Source
    name: str
    windows: pd.Series[str] | None
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    every: EveryRow | None = None


@dataclass(frozen=True)
class _Cut:
    """The rows looked at that are in a window, and what was found out about windows."""

    frame: pd.DataFrame
    source: Source
    notes: tuple[str, ...] = ()
    large: LargeTable | None = None


def _cut(read: _Rows, asked: Asked) -> _Cut:
    """Cut the rows into windows by the column with their time, or with the names of windows."""
    column, frame, every = asked.times.column or read.source.window_column, read.frame, read.every
    check_column_exists(frame, asked.times.column, read.table)
    if column is None or column not in frame.columns:
        return _Cut(frame, read.source, large=None if every is None else every.in_runs())
    values = select_column(frame, column)
    if every is not None and every.whole is not None:
        values = every.whole
    named = name_windows(values, read.source, asked.times, read.table)
    of_row = named.of_row if every is None else named.of_row.iloc[every.places]
    inside = of_row.notna().to_numpy()
    frame = frame.assign(**{column: of_row.to_numpy()})[inside].reset_index(drop=True)
    large = None if every is None else every.in_windows(named.of_row, inside)
    return _Cut(frame, named.source, named.notes, large)


def _read_files(tables: Sequence[Path], asked: Asked) -> _Rows:
    if asked.query or asked.table:
        raise UseCaseError(
            where="--query" if asked.query else "--table",
            wanted="the address of a database, such as sqlite:///shop.db",
            got=str(tables[0]),
            then="name the database, or leave the option out",
        )
    chosen = choose_files(tables, asked.dialect, asked.named, by_column=asked.by_column)
    found = _read(chosen, asked)
    runs, name = _runs_of(found, asked), _name_of(chosen)
    windows = every = None
    if found.read.rows == len(found.read.places) and len(runs) > 1:
        windows = pd.Series([window for window, rows in runs for _ in range(rows)])
    if found.read.rows > len(found.read.places):
        rows = FileRows(tuple(path for path, _ in found.read.files), found.source)
        every = EveryRow(rows, found.read.places, tuple(runs), found.read.whole)
    return _Rows(
        found.frame, chosen.newest, found.source, name, windows, chosen.notes, found.notes, every
    )


def _read_database(url: str, asked: Asked) -> _Rows:
    found = read_database(
        url,
        query=asked.query,
        table=asked.table,
        window_column=asked.window_column,
        time_column=asked.times.column,
        most_looked_at=asked.most_looked_at,
    )
    return _Rows(
        found.frame,
        Path(found.name),
        found.source,
        found.name,
        found.windows,
        found.notes,
        found.remarks,
        found.every,
    )


def _write(draft: Draft, out: Path, frame: pd.DataFrame) -> Draft:
    temporary = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(draft.text, encoding="utf-8")
        draft = mark_leaks(draft, frame, load_use_case(temporary))
        temporary.write_text(draft.text, encoding="utf-8")
        load_use_case(temporary)
        temporary.replace(out)
    except OSError as error:
        raise UseCaseError(
            where=str(out),
            wanted="a file that can be written",
            got=error.strerror or str(error),
            then="choose another --out",
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return draft


def _read(chosen: ChosenFiles, asked: Asked) -> FoundTable:
    """The rows of all files when a column cuts them into windows, otherwise of the newest."""
    older = chosen.files[:-1] if asked.by_column else chosen.files[:-1][-(_MOST_FILES - 1) :]
    try:
        found = find_table_source(
            chosen.newest,
            Source(windows=chosen.pattern, window_column=asked.window_column),
            asked.dialect,
            asked.named,
            older,
            most_rows=math.inf if asked.by_column else _MOST_ROWS,
            most_looked_at=asked.most_looked_at,
            whole=asked.times.column or asked.window_column,
        )
    except ValueError as error:
        raise UseCaseError(
            where="init",
            wanted=str(error),
            got=str(dict(asked.dialect)),
            then="correct the options",
        ) from None
    if chosen.columns:
        kept = [name for name in found.frame.columns if name in chosen.columns]
        found = replace(found, frame=found.frame[kept])
    if len(found.read.files) < len(chosen.files):
        said = f"guessed from the newest {len(found.read.files)} of {len(chosen.files)} files"
        found = replace(found, notes=(*found.notes, said))
    return found


def _runs_of(found: FoundTable, asked: Asked) -> list[tuple[str, int]]:
    """The window of all rows of each file, where each of several files is a window."""
    if len(found.read.files) == 1 or asked.by_column:
        return [("one window", found.read.rows)]
    return [(split_ending(path)[0], rows) for path, rows in found.read.files]


def _name_of(chosen: ChosenFiles) -> str:
    """The name of the file, or of its folder when that says more."""
    stem = chosen.newest.name.split(".")[0]
    if len(chosen.files) > 1 or stem.casefold() in _GENERIC or is_window_name(stem):
        return chosen.newest.resolve().parent.name
    return stem
