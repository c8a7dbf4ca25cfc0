"""Write the loop.toml of `closedloop init`: all or nothing, and only one that can be read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from closedloop.cli.draft.files import ChosenFiles, choose_files, is_window_name
from closedloop.cli.draft.leaks import mark_leaks
from closedloop.cli.draft.loop_toml import Draft, describe_table
from closedloop.cli.draft.source import split_ending
from closedloop.cli.draft.sql import is_database, read_database
from closedloop.cli.draft.windows import TimeOptions, name_windows
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.source import Source
from closedloop.windows.tables.dialect import FoundTable, find_table_source

# A guess does not need every row of many files.
_MOST_FILES, _MOST_ROWS = 12, 200_000
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
    frame, source, notes = name_windows(read.frame, read.source, asked.times, read.table)
    draft = describe_table(
        frame,
        read.table,
        name=asked.name or read.name,
        target=asked.target,
        key=asked.key,
        group=asked.group,
        source=source,
        remarks=read.remarks,
        out=out,
        positive=asked.positive,
        windows=read.windows,
    )
    draft = _write(draft, out, frame)
    return load_use_case(out), (*read.notes, *notes, *read.remarks, *draft.notes)


@dataclass(frozen=True)
class _Rows:
    """What was read: rows, where they are, the window of each if that is known, and words."""

    frame: pd.DataFrame
    table: Path
    source: Source
    name: str
    windows: pd.Series[str] | None
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()


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
    windows, name = _windows_of(found, asked), _name_of(chosen)
    return _Rows(found.frame, chosen.newest, found.source, name, windows, chosen.notes, found.notes)


def _read_database(url: str, asked: Asked) -> _Rows:
    found = read_database(
        url,
        query=asked.query,
        table=asked.table,
        window_column=asked.window_column,
        time_column=asked.times.column,
    )
    return _Rows(
        found.frame,
        Path(found.name),
        found.source,
        found.name,
        found.windows,
        found.notes,
        found.remarks,
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
    if len(found.files) < len(chosen.files):
        said = f"guessed from the newest {len(found.files)} of {len(chosen.files)} files"
        found = replace(found, notes=(*found.notes, said))
    return found


def _windows_of(found: FoundTable, asked: Asked) -> pd.Series[str] | None:
    """The window of each row when each of several files is one; None otherwise."""
    if len(found.files) == 1 or asked.by_column:
        return None
    return pd.Series([split_ending(path)[0] for path, rows in found.files for _ in range(rows)])


def _name_of(chosen: ChosenFiles) -> str:
    """The name of the file, or of its folder when that says more."""
    stem = chosen.newest.name.split(".")[0]
    if len(chosen.files) > 1 or stem.casefold() in _GENERIC or is_window_name(stem):
        return chosen.newest.resolve().parent.name
    return stem
