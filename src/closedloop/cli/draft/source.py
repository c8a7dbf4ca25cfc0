"""The [source] of a table that nobody has described yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from closedloop.cli.draft.sql import describe_database
from closedloop.use_case.source import Source
from closedloop.use_case.toml_text import quote
from closedloop.windows.query_text import escape_pattern
from closedloop.windows.tables.table_file import COMPRESSED


def describe_source(path: Path, out: Path, found: Source, remarks: Sequence[str] = ()) -> str:
    """The [source] of a loop.toml at `out` for the table at `path`, read with the settings `found`.

    Without `window_column` and `time_column` the whole table is one window. `remarks` become
    comments.
    """
    if found.kind == "sql":
        return describe_database(found, remarks)
    root = Path(os.path.relpath(path.resolve().parent, out.resolve().parent)).as_posix()
    lines = [
        "[source]",
        'kind = "files"',
        f"root = {quote(root)}  # relative to this file; CLOSEDLOOP_DATA overrides it",
        *_windows(path, found),
        *_settings(found),
        *(f"# {remark}" for remark in remarks),
    ]
    return "\n".join(lines) + "\n"


def _windows(path: Path, found: Source) -> list[str]:
    bare, ending = split_ending(path)
    alone = found.windows in (None, path.name, escape_pattern(path.name))
    pattern = f"windows = {quote(escape_pattern(path.name) if alone else found.windows or '')}"
    if found.window_column is not None:
        return [
            f"{pattern}  # every file that matches is read",
            f"window_column = {quote(found.window_column)}  # each value is a window, in the order "
            "of the time that it names",
        ]
    if found.time_column is not None:
        return [
            f"{pattern}  # every file that matches is read",
            f"time_column = {quote(found.time_column)}  # the time of a row",
            f"every = {quote(found.every or 'day')}  # a window holds the rows of one, and is used "
            "once it is over",
            f"timezone = {quote(found.timezone)}  # the clock that windows begin by, and of times "
            "without a zone",
            *([f"date_format = {quote(found.date_format)}"] if found.date_format else []),
        ]
    if not alone:
        return [f"{pattern}  # every file that matches is a window, named after its time"]
    return [
        f"# One window, {quote(bare)}. To add more, put files with the same columns next to it and "
        "use",
        f"# windows = {quote('*' + ending)}: every file that matches is a window, named after "
        "its time.",
        pattern,
    ]


def _settings(found: Source) -> list[str]:
    """How the file is written, where that is not the default."""
    usual, lines = Source(windows="*"), []
    for name in ("delimiter", "decimal", "thousands", "encoding", "quote"):
        if (value := getattr(found, name)) != getattr(usual, name):
            lines.append(f"{name} = {quote(value)}")
    if found.null_values:
        lines.append(f"null_values = [{', '.join(map(quote, found.null_values))}]")
    return lines


def split_ending(path: Path) -> tuple[str, str]:
    """The name of a file without its ending, and the ending: 2026-01 and .csv.gz."""
    endings = "".join(path.suffixes[-2:]) if path.suffix in COMPRESSED else path.suffix
    return path.name.removesuffix(endings), endings
