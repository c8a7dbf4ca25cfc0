"""What the columns of an undescribed table seem to be: windows, key, features."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from closedloop.cli.draft.categories import describe_categories, find_null_words
from closedloop.cli.draft.dates import describe_digits, describe_time, describe_written_time
from closedloop.cli.draft.facts import Facts, RowWindows, look_at, write_texts
from closedloop.cli.draft.feature import (
    Feature,
    Surroundings,
    is_named_index,
    looks_like_id,
    looks_like_index,
)
from closedloop.cli.draft.nested import describe_nested
from closedloop.cli.draft.numbers import Numbers, describe_numbers, find_numbers
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import MISSING
from closedloop.windows.time_names import in_time_order


def check_column_exists(frame: pd.DataFrame, column: str | None, path: Path) -> None:
    """Raise UseCaseError that names the nearest column unless there is one of that name."""
    if column is None or column in frame.columns:
        return
    near = difflib.get_close_matches(column, [str(name) for name in frame.columns], n=1, cutoff=0.5)
    then = (
        f"did you mean {near[0]}?"
        if near
        else f"its columns are {', '.join(map(str, frame.columns[:12]))}"
    )
    raise UseCaseError(where=str(path), wanted="a column of the table", got=column, then=then)


def read_windows(column: pd.Series[Any], path: Path, name: str) -> pd.Series[str]:
    """The window of each row.

    Raises UseCaseError when the column has too many values, SourceError when their order in time is
    not clear.
    """
    windows = column.astype(str).where(column.notna(), MISSING).reset_index(drop=True)
    refuse_many_windows(windows.nunique(), len(windows), path, name)
    in_time_order(set(windows) - {MISSING})
    return windows


def refuse_many_windows(many: int, rows: int, path: Path, name: str) -> None:
    """Raise UseCaseError when a column has too many values for windows of so many rows."""
    if many > max(2, rows / 5):
        raise UseCaseError(
            where=f"{path}: {name}",
            wanted="a column with the window of each row, such as its month",
            got=f"{many} values in {rows} rows",
            then="add a coarser column, or drop --window-column",
        )


def repeats(column: pd.Series[Any], windows: pd.Series[str]) -> bool:
    """Whether a value is null, or occurs twice in a window."""
    return bool(column.isna().any()) or bool(
        pd.DataFrame({"key": column.to_numpy(), "window": windows.to_numpy()}).duplicated().any()
    )


def checked_key(key: str | None, repeats: Callable[[str], bool], path: Path) -> str | None:
    """The key that the user named. Raises UseCaseError when it repeats within a window."""
    if key is not None and repeats(key):
        raise UseCaseError(
            where=f"{path}: {key}",
            wanted="a key that is never null and unique within a window",
            got="nulls or repeated values",
            then="choose another --key, or drop the option",
        )
    return key


def may_be_key(name: str) -> bool:
    """Whether a column of this name usually identifies rows, and is not the number of a row."""
    return looks_like_id(name) and not looks_like_index(name)


def guess_key(columns: Iterable[str], repeats: Callable[[str], bool]) -> str | None:
    """The first column that is named like a key and never repeats within a window."""
    return next((name for name in columns if may_be_key(name) and not repeats(name)), None)


def describe_feature(
    name: str, facts: Facts, numbers: Numbers | None, around: Surroundings
) -> Feature:
    """Guess type and limits from what is known of the values, which were also read as numbers."""
    if not len(facts.counts):
        return Feature(name, left_out="always null")
    if why := describe_nested(facts.values) or describe_time(facts.values):
        return Feature(name, left_out=why)
    if numbers is None:
        if why := describe_written_time(facts.counts):
            return Feature(name, left_out=why)
        return describe_categories(name, facts, around)
    if looks_like_index(name) and _is_index(name, numbers, around.windows):
        return Feature(name, left_out="the index of a frame or the number of a row")
    if facts.distinct == 1:
        return Feature(name, left_out="constant")
    if numbers.codes and not describe_digits(name, numbers.values, around.windows.by_name):
        return describe_categories(name, facts, around, numbers.codes)
    return describe_numbers(name, numbers, around)


def look_at_column(column: pd.Series[Any], windows: RowWindows) -> Facts:
    """The facts of a column whose rows were all looked at; of nested values only their types."""
    return look_at(
        column, write_texts(column if not describe_nested(column) else column.map(type)), windows
    )


def describe_column(name: str, column: pd.Series[Any]) -> Feature:
    """As `describe_feature`, of a column by itself: what the rest of the table says is unknown."""
    column = column.reset_index(drop=True)
    windows = RowWindows.of(pd.Series(["one window"] * len(column)))
    facts = look_at_column(column, windows)
    numbers = find_numbers(facts, windows)
    around = Surroundings(
        windows,
        pd.Series([False] * len(column)),
        {name: facts},
        find_null_words([(facts, numbers is not None)]),
    )
    return describe_feature(name, facts, numbers, around)


def _is_index(name: str, numbers: Numbers, windows: RowWindows) -> bool:
    """Whether whole numbers grow from row to row; of an index also if rows were put in order."""
    if numbers.spread.nulls.any() or not numbers.spread.whole:
        return False
    named = pd.DataFrame({"value": numbers.values, "window": windows.of_row.to_numpy()})
    return numbers.spread.growing > 0.9 or (is_named_index(name) and not named.duplicated().any())
