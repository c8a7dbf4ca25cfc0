"""A table nobody has described yet -> the text of a commented loop.toml, to be read and corrected
by whoever knows the table."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.errors import UseCaseError
from closedloop.windows.contract_check import MISSING, read_categories, read_numbers

_MAX_CLASSES = 20
_MAX_ALLOWED = 30
_ID_LIKE = re.compile(r"(^|[\s_.-])(id|key|uuid|guid|nr|number)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z](Id|ID)$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?")
_A_DATE = "a date or time: derive an age or a season from it"
_SCHEDULE = """[schedule]
cron = "0 6 * * *"  # when `closedloop up` looks by itself: minute, hour, day, month, weekday
timezone = "UTC"
"""
_PAIRS = {
    ("0", "1"),
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("negative", "positive"),
    ("bad", "good"),
}


@dataclass(frozen=True)
class _Feature:
    """One column as it will stand in the file: its TOML lines, or why it is left out."""

    name: str
    lines: tuple[str, ...] = ()
    left_out: str = ""


def describe_table(
    frame: pd.DataFrame,
    path: Path,
    *,
    name: str,
    target: str,
    key: str | None = None,
    window_column: str | None = None,
    out: Path,
) -> str:
    """The text of a loop.toml, to be written at `out`, for the table at `path` whose rows are
    `frame`.

    Everything in it is guessed from the rows and says so. Without `window_column` the table is one
    window. Raises UseCaseError when a named column is absent, the target has no 2 to 20 classes,
    the key repeats, or no feature is left.
    """
    for column in (target, key, window_column):
        _must_exist(frame, column, path)
    windows = (
        pd.Series(["one window"] * len(frame))
        if window_column is None
        else _windows(frame[window_column], path, window_column)
    )
    classes = _classes(frame[target], path, target)
    key = _checked_key(frame, key, windows, path) or _guess_key(
        frame, windows, exclude={target, window_column}
    )
    features = [
        _describe(str(column), frame[column], windows)
        for column in frame.columns
        if column not in (target, key, window_column)
    ]
    if all(feature.left_out for feature in features):
        reasons = (
            "; ".join(f"{one.name} is {one.left_out}" for one in features) or "no other column"
        )
        raise UseCaseError(
            where=str(path),
            wanted="at least one feature column",
            got=reasons,
            then="bring a table with columns to predict from",
        )
    parts = [
        _head(name, path, key),
        _source(path, out, window_column),
        _target(target, classes),
        _columns(features),
        _policy(frame[target], windows),
    ]
    return "\n".join(parts)


def _must_exist(frame: pd.DataFrame, column: str | None, path: Path) -> None:
    if column is None or column in frame.columns:
        return
    near = difflib.get_close_matches(column, [str(one) for one in frame.columns], n=1, cutoff=0.5)
    then = (
        f"did you mean {near[0]}?"
        if near
        else f"its columns are {', '.join(map(str, frame.columns[:12]))}"
    )
    raise UseCaseError(where=str(path), wanted="a column of the table", got=column, then=then)


def _windows(column: pd.Series[Any], path: Path, name: str) -> pd.Series[str]:
    windows = column.astype(str).where(column.notna(), MISSING).reset_index(drop=True)
    if windows.nunique() > max(2, len(windows) / 5):
        raise UseCaseError(
            where=f"{path}: {name}",
            wanted="a column that names each row's window, such as its month",
            got=f"{windows.nunique()} values in {len(windows)} rows",
            then="add a coarser column, or leave out --window-column",
        )
    return windows


def _classes(column: pd.Series[Any], path: Path, target: str) -> tuple[str, ...]:
    """The positive class of two comes second: by convention where there is one, otherwise the
    rarer."""
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
            then="choose another --target, or add a column that puts it into classes",
        )
    if len(counts) < 2:
        raise UseCaseError(
            where=f"{path}: {target}",
            wanted=f"a target of 2 to {_MAX_CLASSES} classes",
            got=f"only {counts.index[0]!r}" if len(counts) else "nulls only",
            then="bring rows of every class",
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


def _checked_key(
    frame: pd.DataFrame, key: str | None, windows: pd.Series[str], path: Path
) -> str | None:
    if key is not None and _repeats(frame[key], windows):
        raise UseCaseError(
            where=f"{path}: {key}",
            wanted="a key that is never null and comes once in a window",
            got="nulls or repeated values",
            then="choose another --key, or leave it out",
        )
    return key


def _guess_key(
    frame: pd.DataFrame, windows: pd.Series[str], exclude: set[str | None]
) -> str | None:
    named = (
        str(column) for column in frame.columns if column not in exclude and _id_like(str(column))
    )
    return next((column for column in named if not _repeats(frame[column], windows)), None)


def _id_like(name: str) -> bool:
    return bool(_ID_LIKE.search(name) or _CAMEL_ID.search(name))


def _describe(name: str, column: pd.Series[Any], windows: pd.Series[str]) -> _Feature:
    column = column.reset_index(drop=True)
    present = column.dropna()
    if not len(present):
        return _Feature(name, left_out="always null")
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return _Feature(name, left_out=_A_DATE)
    texts = pd.Series(read_categories(column))
    known = texts[texts != MISSING]
    distinct = known.nunique()
    if distinct <= 1:
        return _Feature(name, left_out="constant" if distinct else "always null")
    if known.str.fullmatch(_DATE).mean() > 0.99:
        return _Feature(name, left_out=_A_DATE)
    numbers = read_numbers(column)
    if (
        not pd.api.types.is_bool_dtype(present)
        and not _is_boolean(known)
        and np.isfinite(numbers[known.index]).mean() > 0.99
    ):
        return _numeric(name, numbers, windows)
    if distinct > _MAX_ALLOWED and distinct / len(known) > 0.9:
        return _Feature(name, left_out="an id or free text: nearly every value is another")
    if _id_like(name) and distinct == len(known):
        return _Feature(name, left_out="an id: every value is another")
    return _categorical(name, known, _null_rate(texts == MISSING, windows))


def _is_boolean(texts: pd.Series[str]) -> bool:
    return set(texts.str.casefold().unique()) <= {"true", "false"}


def _numeric(
    name: str, numbers: np.ndarray[Any, np.dtype[np.float64]], windows: pd.Series[str]
) -> _Feature:
    present = numbers[~np.isnan(numbers)]
    whole = not np.any(present % 1)
    low, high = float(present.min()), float(present.max())
    if (
        whole
        and len(np.unique(present)) == len(present) == len(numbers)
        and (_id_like(name) or np.all(np.diff(present) == 1))
    ):
        return _Feature(name, left_out="an id or a row number: every value is another")
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
    return _Feature(name, (*lines, *_nulls(_null_rate(pd.Series(np.isnan(numbers)), windows))))


def _outward(value: float) -> float:
    """Two leading digits, away from zero."""
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


def _categorical(name: str, known: pd.Series[str], null_rate: float) -> _Feature:
    # One spelling for those that differ in case only: the commonest.
    spelled: dict[str, str] = {}
    for text in known.value_counts().index:
        spelled.setdefault(str(text).casefold(), str(text))
    lines = ['type = "categorical"']
    if len(spelled) <= _MAX_ALLOWED:
        lines.append(
            f"allowed = [{', '.join(_quoted(text) for text in sorted(spelled.values()))}]  # others break the contract; remove to allow any"
        )
    else:
        lines.append(f"# {len(spelled)} different values seen, too many to list")
    return _Feature(name, (*lines, *_nulls(null_rate)))


def _null_rate(null: pd.Series[bool], windows: pd.Series[str]) -> float:
    """Of the window that has most."""
    return float(null.groupby(windows.to_numpy()).mean().max())


def _nulls(rate: float) -> list[str]:
    limit = min(1.0, math.ceil(100 * (1.5 * rate + 0.05)) / 100)
    return [f"max_null_rate = {limit:g}  # seen: {rate:.3g}"] if rate else []


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _head(name: str, path: Path, key: str | None) -> str:
    lines = [
        f"# Guessed from {path.name.encode('unicode_escape').decode()}: read it once and correct what you know better.",
        "# data/streamflow/loop.toml of the project explains every line that can stand here.",
        "",
        f"name = {_quoted(re.sub(r'[^A-Za-z0-9_-]+', '_', name).strip('_') or 'use_case')}",
        f"key = {_quoted(key)}  # one row per key and window; ties predictions to labels"
        if key
        else '# key = "COLUMN"  # one row per key and window; ties predictions to labels (no column looked like it)',
        '# golden = "golden.json"  # answers that any model worth promoting must give',
    ]
    return "\n".join(lines) + "\n"


def _source(path: Path, out: Path, window_column: str | None) -> str:
    root = Path(os.path.relpath(path.resolve().parent, out.resolve().parent)).as_posix()
    # CSV as text: guessed types differ from file to file, and 'yes' and 'no' would become booleans.
    reader, options = (
        ("read_parquet", "")
        if path.suffix.lower() == ".parquet"
        else ("read_csv", ", all_varchar = true")
    )
    lines = [
        "[source]",
        'kind = "files"',
        f"root = {_quoted(root)}  # beside this file; CLOSEDLOOP_DATA replaces it",
    ]
    if window_column is None:
        bare, ending = _split(path)
        pattern = re.sub(r"([\[*?])", r"[\1]", path.name)
        query = f"SELECT * FROM {reader}('{{root}}/{{window}}{ending}'{options})"
        lines += [
            f"# One window, {_quoted(bare)}. To add more, put files with the same columns beside it and widen the pattern:",
            f"# windows = {_quoted('*' + ending)} makes every such file there a window, in the order of their names.",
            f"windows = {_quoted(pattern)}",
            f"query = {_quoted(query)}",
        ]
    else:
        column = _identifier(window_column)
        table = "{reader}('{{root}}/{file}'{options})".format(
            reader=reader, file=path.name.replace("'", "''"), options=options
        )
        lines += [
            "# Each value is a window; sorted values are time order.",
            "windows_query = "
            + _quoted(
                f"SELECT DISTINCT CAST({column} AS VARCHAR) FROM {table} WHERE {column} IS NOT NULL"
            ),
            "query = "
            + _quoted(
                f"SELECT * EXCLUDE ({column}) FROM {table} WHERE CAST({column} AS VARCHAR) = '{{window}}'"
            ),
        ]
    return "\n".join(lines) + "\n"


def _split(path: Path) -> tuple[str, str]:
    endings = "".join(path.suffixes[-2:]) if path.suffix in (".gz", ".zst") else path.suffix
    return path.name.removesuffix(endings), endings


def _target(target: str, classes: tuple[str, ...]) -> str:
    listed = ", ".join(_quoted(label) for label in classes)
    note = (
        "  # the second is the one whose probability is scored: swap them if that is wrong"
        if len(classes) == 2
        else ""
    )
    delay = "delay_windows = 0  # 1: labels come with the next window"
    return f"[target]\ncolumn = {_quoted(target)}\nclasses = [{listed}]{note}\n\n[labels]\n{delay}\n\n{_SCHEDULE}"


def _columns(features: Iterable[_Feature]) -> str:
    kept, left_out = [], []
    for feature in features:
        if feature.left_out:
            left_out.append(f"# left out: {_quoted(feature.name)} is {feature.left_out}")
        else:
            kept.append("\n".join([f"[columns.{_key(feature.name)}]", *feature.lines]) + "\n")
    head = "# The contract: a window is broken when more than max_bad_rate (0.01) of a column's values are outside, or too many are null."
    return "\n".join([head, *left_out, "", *kept])


def _policy(target: pd.Series[Any], windows: pd.Series[str]) -> str:
    """Minimums that windows of this size can meet: the first model is judged on a held-out quarter
    of one window."""
    labels = pd.Series(read_categories(target))
    labelled = labels != MISSING
    rows = int(labelled.groupby(windows.to_numpy()).sum().median())
    rarest = float(labels[labelled].value_counts(normalize=True).min())
    judged = min(500, max(10, int(rows * 0.15)))
    each = min(30, max(2, int(judged * rarest / 2)))
    return f"""# Policy: every number that can change a decision. These fit windows of about {rows} labelled rows;
# what is not named here has the value it has in data/streamflow/loop.toml.
[policy.retraining]
min_new_labels = {judged}
min_new_labels_per_class = {each}

[policy.promotion]
min_rows = {judged}
min_rows_per_class = {each}
min_slice_rows = {min(100, max(10, rows // 20))}
min_slice_rows_per_class = {min(10, each)}

[policy.rollback]
min_rows = {judged}

# A slice is a part of the rows that is compared on its own; a candidate that harms a protected one is not promoted.
# [[slices]]
# name = "my_slice"
# column = "COLUMN"
# values = ["VALUE"]  # or minimum and maximum for a numeric column
# protected = true
"""
