"""Write the loop.toml of `closedloop init`: all or nothing, and only one that can be read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from closedloop.cli.draft_leaks import mark_leaks
from closedloop.cli.draft_loop_toml import describe_table
from closedloop.cli.draft_windows import TimeOptions, name_windows
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.source import Source
from closedloop.windows.dialect import FoundTable, find_table_source

_NO_TIMES = TimeOptions()


def write_use_case(
    table: Path,
    target: str,
    out: Path,
    *,
    key: str | None,
    window_column: str | None,
    positive: str | None,
    dialect: Mapping[str, Any] | None = None,
    times: TimeOptions = _NO_TIMES,
    force: bool,
) -> tuple[UseCase, tuple[str, ...]]:
    """Read the table, write the commented file; the use case that it describes, and notes on it.

    `dialect` are the settings of a CSV file that are given; the others are found.
    Raises UseCaseError when `out` exists (without `force`) or cannot be written, or when the table
    does not fit; SourceError when it cannot be read. An error leaves no file behind.
    """
    if out.is_dir():
        out = out / "loop.toml"
    if out.exists() and not force:
        raise UseCaseError(
            where=str(out),
            wanted="a new file",
            got="one that exists",
            then="choose another --out, or add --force",
        )
    named = [target, key, window_column, times.column]
    found = _read(table, named, window_column, dialect or {})
    frame, source, notes = name_windows(found.frame, found.source, times, table)
    draft = describe_table(
        frame,
        table,
        name=_plain_name(table),
        target=target,
        key=key,
        source=source,
        remarks=found.notes,
        out=out,
        positive=positive,
    )
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
    return load_use_case(out), (*notes, *found.notes, *draft.notes)


def _read(
    table: Path, named: Sequence[str | None], window_column: str | None, dialect: Mapping[str, Any]
) -> FoundTable:
    try:
        source = Source(windows=table.name, window_column=window_column)
        return find_table_source(table, source, dialect, [name for name in named if name])
    except ValueError as error:
        raise UseCaseError(
            where="init", wanted=str(error), got=str(dict(dialect)), then="correct the options"
        ) from None


def _plain_name(table: Path) -> str:
    stem = table.name.split(".")[0]
    return (
        "".join(
            character if character.isascii() and (character.isalnum() or character in "-_") else "_"
            for character in stem
        ).strip("_")
        or "use_case"
    )
