"""The windows of a table that nobody has described yet: their times, their names, their order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from closedloop.errors import UseCaseError
from closedloop.use_case.source import Every, Source
from closedloop.windows.date_formats import find_date_format
from closedloop.windows.rows_of_files import tell_without_window
from closedloop.windows.time_column import cut_by_time, require_finished
from closedloop.windows.time_names import in_time_order


@dataclass(frozen=True)
class TimeOptions:
    """How `closedloop init` is told to cut rows by their time."""

    column: str | None = None
    every: str = "month"
    timezone: str = "UTC"
    date_format: str | None = None


@dataclass(frozen=True)
class NamedWindows:
    """The window of each row, null where it is in none, the source with it, and notes."""

    of_row: pd.Series[Any]
    source: Source
    notes: tuple[str, ...]


def name_windows(
    column: pd.Series[Any], source: Source, times: TimeOptions, table: Path
) -> NamedWindows:
    """The windows that a column cuts the rows into: by their time, or by the names in it.

    Rows of a window that is not over, or without a time, are in none. Raises UseCaseError for a
    wrong option, SourceError when the times or their order cannot be read, or no window is over.
    """
    if times.column is None:
        names = in_time_order(set(column.dropna().drop_duplicates().astype(str)))
        told = (*_tell(names), *tell_without_window(column))
        return NamedWindows(column, source, told)
    where = f"{table}: {times.column}"
    date_format = times.date_format or find_date_format(
        column, _checked(source, times).timezone, where
    )
    source = replace(_checked(source, times), date_format=date_format)
    timed = cut_by_time(column.to_frame(), source, str(table))
    names = require_finished(timed, where)
    window = timed.window.where(timed.window.isin(names))
    return NamedWindows(window, source, (*_tell(names), *timed.remarks()))


def _tell(names: tuple[str, ...]) -> tuple[str, ...]:
    return (f"{len(names)} windows, {names[0]} to {names[-1]}",) if len(names) > 1 else ()


def _checked(source: Source, times: TimeOptions) -> Source:
    try:
        if times.every not in get_args(Every):
            raise ValueError(f"every must be hour, day, week or month, got {times.every!r}")
        every: Every = times.every  # type: ignore[assignment]  # just checked
        return replace(source, time_column=times.column, every=every, timezone=times.timezone)
    except ValueError as error:
        wanted, _, got = str(error).partition(", got ")
        raise UseCaseError(
            where="--time-column", wanted=wanted, got=got or "both", then="change that option"
        ) from None
