"""What the columns of an undescribed table seem to be: windows, classes, key, features."""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.errors import UseCaseError
from closedloop.use_case.contract import MISSING
from closedloop.windows.prepare import read_categories, read_numbers

_MAX_CLASSES = 20
_MAX_ALLOWED = 30
_ID_LIKE = re.compile(r"(^|[\s_.-])(id|key|uuid|guid|nr|number)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z](Id|ID)$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?")
_A_DATE = "a date or time: derive an age or a season from it"
_PAIRS = {
    ("0", "1"),
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("negative", "positive"),
    ("bad", "good"),
}


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
    """The window of each row. Raises UseCaseError when the column has too many values."""
    windows = column.astype(str).where(column.notna(), MISSING).reset_index(drop=True)
    if windows.nunique() > max(2, len(windows) / 5):
        raise UseCaseError(
            where=f"{path}: {name}",
            wanted="a column with the window of each row, such as its month",
            got=f"{windows.nunique()} values in {len(windows)} rows",
            then="add a coarser column, or drop --window-column",
        )
    return windows


def read_classes(column: pd.Series[Any], path: Path, target: str) -> tuple[str, ...]:
    """Of two classes the positive one is second: by convention if there is one, else the rarer."""
    labels = pd.Series(read_categories(column))
    counts = labels[labels != MISSING].value_counts()
    numbers = read_numbers(column)
    fractional = bool(np.any(numbers[~np.isnan(numbers)] % 1))
    if len(counts) > _MAX_CLASSES:
        kind = (
            "looks like a quantity, not a class"
            if fractional or not np.isnan(numbers).all()
            else "has too many values for classes"
        )
        raise UseCaseError(
            where=f"{path}: {target}",
            wanted=f"a target of 2 to {_MAX_CLASSES} classes",
            got=f"{len(counts)} different values; it {kind}",
            then="choose another --target, or add a column with classes",
        )
    if len(counts) < 2:
        raise UseCaseError(
            where=f"{path}: {target}",
            wanted=f"a target of 2 to {_MAX_CLASSES} classes",
            got=f"only {counts.index[0]!r}" if len(counts) else "nulls only",
            then="add rows of every class",
        )
    ordered = sorted(str(label) for label in counts.index)
    if np.isfinite(pd.to_numeric(pd.Series(ordered), errors="coerce")).all():
        return tuple(sorted(ordered, key=float))
    if len(ordered) == 2 and (ordered[0].casefold(), ordered[1].casefold()) not in _PAIRS:
        return tuple(str(label) for label in counts.index)
    return tuple(ordered)


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
        if column not in exclude and looks_like_id(str(column))
    )
    return next((column for column in named if not _repeats(frame[column], windows)), None)


@dataclass(frozen=True)
class Feature:
    """One column in the draft: its TOML lines, or why it is left out."""

    name: str
    lines: tuple[str, ...] = ()
    left_out: str = ""


def looks_like_id(name: str) -> bool:
    """Whether a column of this name usually identifies rows."""
    return bool(_ID_LIKE.search(name) or _CAMEL_ID.search(name))


def describe_feature(name: str, column: pd.Series[Any], windows: pd.Series[str]) -> Feature:
    """Guess type and limits from the values; null rates are those of the worst window."""
    column = column.reset_index(drop=True)
    present = column.dropna()
    if not len(present):
        return Feature(name, left_out="always null")
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return Feature(name, left_out=_A_DATE)
    texts = pd.Series(read_categories(column))
    known = texts[texts != MISSING]
    distinct = known.nunique()
    if distinct <= 1:
        return Feature(name, left_out="constant" if distinct else "always null")
    if known.str.fullmatch(_DATE).mean() > 0.99:
        return Feature(name, left_out=_A_DATE)
    numbers = read_numbers(column)
    if (
        not pd.api.types.is_bool_dtype(present)
        and not _is_boolean(known)
        and np.isfinite(numbers[known.index]).mean() > 0.99
    ):
        return _numeric(name, numbers, windows)
    if distinct > _MAX_ALLOWED and distinct / len(known) > 0.9:
        return Feature(name, left_out="an id or free text: nearly every value is different")
    if looks_like_id(name) and distinct == len(known):
        return Feature(name, left_out="an id: every value is different")
    return _categorical(name, known, _null_rate(texts == MISSING, windows))


def _is_boolean(texts: pd.Series[str]) -> bool:
    return set(texts.str.casefold().unique()) <= {"true", "false"}


def _numeric(
    name: str, numbers: np.ndarray[Any, np.dtype[np.float64]], windows: pd.Series[str]
) -> Feature:
    present = numbers[~np.isnan(numbers)]
    whole = not np.any(present % 1)
    low, high = float(present.min()), float(present.max())
    if (
        whole
        and len(np.unique(present)) == len(present) == len(numbers)
        and (looks_like_id(name) or np.all(np.diff(present) == 1))
    ):
        return Feature(name, left_out="an id or a row number: every value is different")
    span = high - low
    minimum, maximum = (
        (0.0 if low >= 0 else _outward(low - span)),
        (0.0 if high <= 0 else _outward(high + span)),
    )
    lines = [
        'type = "numeric"',
        f"minimum = {_plain(minimum)}",
        f"maximum = {_plain(maximum)}  # seen: {low:.6g} to {high:.6g}",
    ]
    return Feature(name, (*lines, *_nulls(_null_rate(pd.Series(np.isnan(numbers)), windows))))


def _outward(value: float) -> float:
    """Rounded away from zero to two digits."""
    if value == 0 or not math.isfinite(value):
        return 0.0 if value == 0 else math.copysign(1.7e308, value)
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return math.copysign(math.ceil(abs(value) / step - 1e-9) * step, value)


def _plain(value: float) -> str:
    return (
        f"{value:.0f}"
        if value == int(value) and abs(value) < 1e15
        else f"{float(f'{value:.6g}')!r}"
    )


def _categorical(name: str, known: pd.Series[str], null_rate: float) -> Feature:
    # Of values that differ only in case, the most common spelling.
    spelled: dict[str, str] = {}
    for text in known.value_counts().index:
        spelled.setdefault(str(text).casefold(), str(text))
    lines = ['type = "categorical"']
    if len(spelled) <= _MAX_ALLOWED:
        lines.append(
            f"allowed = [{', '.join(quote(text) for text in sorted(spelled.values()))}]  # "
            "any other value breaks the contract; delete this line to allow all"
        )
    else:
        lines.append(f"# {len(spelled)} different values seen, too many to list")
    return Feature(name, (*lines, *_nulls(null_rate)))


def _null_rate(null: pd.Series[bool], windows: pd.Series[str]) -> float:
    """Of the window with the highest."""
    return float(null.groupby(windows.to_numpy()).mean().max())


def _nulls(rate: float) -> list[str]:
    limit = min(1.0, math.ceil(100 * (1.5 * rate + 0.05)) / 100)
    return [f"max_null_rate = {limit:g}  # seen: {rate:.3g}"] if rate else []


def quote(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
