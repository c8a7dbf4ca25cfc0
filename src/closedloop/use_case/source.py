"""Where windows come from: [source] of loop.toml."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from closedloop.decisions.fingerprint import ADDED_LATER

Every = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True)
class Source:
    """Where windows come from.

    `files`: `root` is a folder relative to loop.toml (CLOSEDLOOP_DATA replaces it). Without
    `query`, the files under root that match the pattern `windows` are read as they are: each is a
    window, or, with `window_column`, each value of that column in all of them, or, with
    `time_column` and `every`, each hour, day, ISO week or month of all rows. With `query`, DuckDB
    SQL in which `{root}` and `{window}` are filled in, a window is a name that matches `windows`,
    without its file ending, or a row of `windows_query`.
    `sql`: `url` is a SQLAlchemy address, or `$NAME` of an environment variable that holds it. With
    `time_column`, `query` reads all rows, or one period, with `{start}` and `{end}` filled in.
    """

    query: str | None = None
    """SQL that reads one window, with `{root}` and `{window}` filled in; by default its file."""
    kind: Literal["files", "sql"] = "files"
    """Where the rows are: files, or a database read by SQLAlchemy."""
    root: str = "."
    """Folder of the files, relative to loop.toml; `CLOSEDLOOP_DATA` replaces it."""
    windows: str | None = None
    """Pattern of names under `root`: each match is a window, unless a column says otherwise."""
    windows_query: str | None = None
    """SQL that lists the windows instead, for `query`."""
    url: str | None = None
    """SQLAlchemy address of the database, or `$NAME` of a variable that holds it."""
    generator: Literal["streamflow", "iris"] | None = None
    """Built-in data that `closedloop generate` writes under `root`."""
    window_column: str | None = field(default=None, metadata=ADDED_LATER)
    """Column that names the window of a row; without `query`."""
    delimiter: str = field(default=",", metadata=ADDED_LATER)
    """Sign between the values of a CSV file. This and the next five are unused with `query`."""
    decimal: Literal[".", ","] = field(default=".", metadata=ADDED_LATER)
    """Decimal sign of numbers in a CSV file."""
    thousands: Literal["", ".", ",", " ", "'"] = field(default="", metadata=ADDED_LATER)
    """Sign between thousands in a CSV file; empty: none."""
    encoding: str = field(default="utf-8", metadata=ADDED_LATER)
    """Encoding of a CSV file, such as utf-8, latin-1 or utf-16."""
    quote: str = field(default='"', metadata=ADDED_LATER)
    """Sign around values that hold a delimiter or a line break; empty: none."""
    null_values: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    """Texts that mean a missing value in any column of a CSV file, such as ?."""

    new_rows: bool = field(default=False, metadata=ADDED_LATER)
    """Whether a window is only the rows that no window before it holds, for files that grow."""
    time_column: str | None = field(default=None, metadata=ADDED_LATER)
    """Column with the time of a row: rows are cut into windows of one period, `every`."""
    every: Every | None = field(default=None, metadata=ADDED_LATER)
    """How long a window of `time_column` is, and one of the service's records (default: a day)."""
    timezone: str = field(default="UTC", metadata=ADDED_LATER)
    """Clock by which periods begin, and of times without a zone: an IANA name."""
    date_format: str | None = field(default=None, metadata=ADDED_LATER)
    """How `time_column` is written if not as in ISO 8601, such as %d.%m.%Y %H:%M."""

    def __post_init__(self) -> None:
        self._check_times()
        if self.kind == "sql" and self.time_column is not None:
            if self.url is None or self.query is None or self.windows is not None:
                raise ValueError("a sql source with time_column needs url and query, not windows")
            return
        if (self.windows is None) == (self.windows_query is None):
            raise ValueError("exactly one of windows and windows_query must be given")
        if self.kind == "sql" and (self.url is None or self.windows_query is None):
            raise ValueError("a sql source needs url and windows_query, or url and time_column")
        if self.query is None and self.windows is None:
            raise ValueError("windows_query needs query")
        if self.query is not None and self.window_column is not None:
            raise ValueError("window_column is for a source without query")
        self._check_pattern()
        self._check_dialect()

    def _check_pattern(self) -> None:
        parts = PurePath(self.windows or "").parts
        outside = PurePath(self.windows or "").is_absolute() or ".." in parts
        if outside or any("**" in part and part != "**" for part in parts):
            raise ValueError(
                "windows must be a pattern of names below root, such as 2026-*.csv, "
                f"got {self.windows}"
            )

    def _check_times(self) -> None:
        if self.time_column is not None:
            if self.every is None:
                raise ValueError("time_column needs every: hour, day, week or month")
            if self.window_column is not None:
                raise ValueError("time_column and window_column exclude each other")
            if self.kind == "files" and self.query is not None:
                raise ValueError("time_column of files is for a source without query")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"timezone must be an IANA name such as Europe/Berlin, got {self.timezone!r}"
            ) from None

    def _check_dialect(self) -> None:
        if len(self.delimiter) != 1 or len(self.quote) > 1:
            raise ValueError("delimiter must be one character, quote one or none")
        if self.delimiter in (self.quote, "\n", "\r"):
            raise ValueError("delimiter must differ from quote and from a line break")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands must differ, got {self.decimal} for both")
        try:
            codecs.lookup(self.encoding)
        except (LookupError, ValueError):
            raise ValueError(
                f"encoding must be one that Python knows, such as latin-1, got {self.encoding}"
            ) from None
