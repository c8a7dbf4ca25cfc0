"""The windows of a table that nobody has described yet: their times, their names, their order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pandas as pd

from closedloop.cli.draft.columns import check_column_exists
from closedloop.errors import UseCaseError
from closedloop.use_case.source import Every, Source
from closedloop.windows.date_formats import find_date_format
from closedloop.windows.files_source import tell_without_window
from closedloop.windows.time_column import cut_by_time, require_finished
from closedloop.windows.time_names import in_time_order


@dataclass(frozen=True)
class TimeOptions:
    """How `closedloop init` is told to cut rows by their time."""

    column: str | None = None
    every: str = "month"
    timezone: str = "UTC"
    date_format: str | None = None


def name_windows(
    frame: pd.DataFrame, source: Source, times: TimeOptions, table: Path
) -> tuple[pd.DataFrame, Source, tuple[str, ...]]:
    """The rows with the name of their window in its column, the source with it, and notes.

    Rows of a window that is not over, or without a time, are left out. Raises UseCaseError for a
    wrong option, SourceError when the times or their order cannot be read, or no window is over.
    """
    if times.column is None:
        if source.window_column is None or source.window_column not in frame.columns:
            return frame, source, ()
        column = frame[source.window_column]
        names = in_time_order(set(column.dropna().astype(str)))
        told = (*_tell(names), *tell_without_window(column))
        return frame[column.notna()].reset_index(drop=True), source, told
    check_column_exists(frame, times.column, table)
    where = f"{table}: {times.column}"
    date_format = times.date_format or find_date_format(
        frame[times.column], _checked(source, times).timezone, where
    )
    source = replace(_checked(source, times), date_format=date_format)
    timed = cut_by_time(frame, source, str(table))
    names = require_finished(timed, where)
    rows = frame.assign(**{times.column: timed.window})[timed.window.isin(names)]
    return rows.reset_index(drop=True), source, (*_tell(names), *timed.remarks())


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
