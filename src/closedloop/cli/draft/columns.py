"""What the columns of an undescribed table seem to be: windows, key, features."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.categories import describe_categories, find_null_words
from closedloop.cli.draft.dates import describe_digits, describe_time, describe_written_time
from closedloop.cli.draft.feature import (
    Feature,
    Surroundings,
    given,
    is_named_index,
    looks_like_id,
    looks_like_index,
    write_texts,
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
    if windows.nunique() > max(2, len(windows) / 5):
        raise UseCaseError(
            where=f"{path}: {name}",
            wanted="a column with the window of each row, such as its month",
            got=f"{windows.nunique()} values in {len(windows)} rows",
            then="add a coarser column, or drop --window-column",
        )
    in_time_order(set(windows) - {MISSING})
    return windows


def _repeats(column: pd.Series[Any], windows: pd.Series[str]) -> bool:
    return bool(column.isna().any()) or bool(
        pd.DataFrame({"key": column.to_numpy(), "window": windows.to_numpy()}).duplicated().any()
    )


def checked_key(
    frame: pd.DataFrame, key: str | None, windows: pd.Series[str], path: Path
) -> str | None:
    """The key that the user named. Raises UseCaseError when it repeats within a window."""
    if key is not None and _repeats(frame[key], windows):
        raise UseCaseError(
            where=f"{path}: {key}",
            wanted="a key that is never null and unique within a window",
            got="nulls or repeated values",
            then="choose another --key, or drop the option",
        )
    return key


def guess_key(frame: pd.DataFrame, windows: pd.Series[str], exclude: set[str | None]) -> str | None:
    """The first column that is named like a key and never repeats within a window."""
    named = (
        str(column)
        for column in frame.columns
        if column not in exclude
        and looks_like_id(str(column))
        and not looks_like_index(str(column))
    )
    return next((column for column in named if not _repeats(frame[column], windows)), None)


def describe_feature(
    name: str,
    column: pd.Series[Any],
    texts: pd.Series[str],
    numbers: Numbers | None,
    around: Surroundings,
) -> Feature:
    """Guess type and limits from the values, which were also read as texts and as numbers."""
    if (texts == MISSING).all():
        return Feature(name, left_out="always null")
    if why := describe_nested(column) or describe_time(column):
        return Feature(name, left_out=why)
    if numbers is None:
        if why := describe_written_time(texts):
            return Feature(name, left_out=why)
        return describe_categories(name, texts, around)
    if looks_like_index(name) and _is_index(name, numbers.values, around.windows):
        return Feature(name, left_out="the index of a frame or the number of a row")
    if given(texts).nunique() == 1:
        return Feature(name, left_out="constant")
    if numbers.codes and not describe_digits(name, numbers.values, around.windows):
        return describe_categories(name, texts, around, numbers.codes)
    return describe_numbers(name, numbers, around)


def read_texts(column: pd.Series[Any]) -> pd.Series[str]:
    """The values of a column as text; of nested ones only their types."""
    return write_texts(column if not describe_nested(column) else column.map(type))


def describe_column(name: str, column: pd.Series[Any]) -> Feature:
    """As `describe_feature`, of a column by itself: what the rest of the table says is unknown."""
    column = column.reset_index(drop=True)
    texts = read_texts(column)
    numbers = find_numbers(column, texts)
    rows = len(column)
    around = Surroundings(
        pd.Series(["one window"] * rows),
        pd.Series([False] * rows),
        {name: texts},
        find_null_words([(texts, numbers is not None)]),
    )
    return describe_feature(name, column, texts, numbers, around)


def _is_index(name: str, values: NDArray[np.float64], windows: pd.Series[str]) -> bool:
    """Whether whole numbers grow from row to row; of an index also if rows were put in order."""
    if np.isnan(values).any() or np.any(values % 1):
        return False
    numbers = pd.DataFrame({"value": values, "window": windows.to_numpy()})
    grow = bool(np.mean(np.diff(values) > 0) > 0.9)
    return grow or (is_named_index(name) and not numbers.duplicated().any())
