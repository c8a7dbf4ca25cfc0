"""A table that nobody has described yet -> the text of a commented loop.toml, to be corrected by
whoever knows the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from closedloop.cli.draft.categories import find_null_words
from closedloop.cli.draft.classes import Classes, read_classes
from closedloop.cli.draft.columns import (
    check_column_exists,
    checked_key,
    describe_feature,
    guess_key,
    read_windows,
    refuse_many_windows,
)
from closedloop.cli.draft.facts import RowWindows
from closedloop.cli.draft.feature import Feature, Surroundings, show
from closedloop.cli.draft.known_table import Named, look_at_table
from closedloop.cli.draft.large_table import LargeTable, count_rows
from closedloop.cli.draft.policy import write_policy
from closedloop.cli.draft.source import describe_source
from closedloop.errors import UseCaseError
from closedloop.use_case.source import Source
from closedloop.use_case.toml_text import quote
from closedloop.windows.prepare import read_categories, select_column

_SCHEDULE = """[schedule]
cron = "0 6 * * *"  # when `closedloop up` monitors: minute hour day month weekday
timezone = "UTC"
"""


@dataclass(frozen=True)
class Draft:
    """The text of a loop.toml, and what its reader should know first, a sentence each."""

    text: str
    notes: tuple[str, ...] = ()


def describe_table(
    frame: pd.DataFrame,
    path: Path,
    *,
    name: str,
    target: str,
    key: str | None = None,
    group: str | None = None,
    source: Source,
    remarks: Sequence[str] = (),
    out: Path,
    positive: str | None = None,
    windows: pd.Series[str] | None = None,
    large: LargeTable | None = None,
) -> Draft:
    """The text of a loop.toml at `out` for the table at `path`, whose rows are `frame`.

    `source` says how the rows were read, `remarks` what a reader should know about that; everything
    else is guessed from them. A `time_column` holds the names of windows here; without it and
    `window_column`, `windows` are those of the rows, or the whole table is one window. A
    `group` is no feature. Of a `large` table the frame is a sample. Raises UseCaseError when a
    named column is missing, the target does not have 2 to 20 classes, the key repeats within a
    window, or no feature is left.
    """
    window_column = source.window_column or source.time_column
    for column in (target, key, group, window_column):
        check_column_exists(frame, column, path)
    named = Named(target, key, group, window_column)
    if large is not None:
        of_rows = large.windows()
        if window_column is not None:
            refuse_many_windows(len(large.names), of_rows.rows.sum(), path, window_column)
    elif window_column is not None:
        of_rows = RowWindows.of(read_windows(frame[window_column], path, window_column))
    else:
        of_rows = RowWindows.of(
            pd.Series(["one window"] * len(frame)) if windows is None else windows
        )
    known = look_at_table(frame, of_rows, named)
    if large is not None:
        known = count_rows(large, known, named)
    null_words = find_null_words(
        (known.facts[column], found is not None) for column, found in known.numbers.items()
    )
    classes = read_classes(known.target, path, target, null_words, positive)
    labels = pd.Series(read_categories(select_column(frame, target), classes.names))
    key = checked_key(key, known.repeats, path) or guess_key(known.facts, known.repeats)
    around = Surroundings(of_rows, labels == classes.names[-1], known.facts, null_words)
    features = [
        describe_feature(column, found, known.numbers[column], around)
        for column, found in known.facts.items()
        if column != key
    ]
    if all(feature.left_out for feature in features):
        reasons = (
            "; ".join(f"{feature.name} is {feature.left_out}" for feature in features)
            or "no other column"
        )
        raise UseCaseError(
            where=str(path),
            wanted="at least one feature column",
            got=reasons,
            then="add columns to predict from",
        )
    minimums = known.minimums(classes, key)
    parts = [
        _head(name, path, key, group, "" if large is None else large.tell(len(frame))),
        describe_source(path, out, source, remarks),
        _target(target, classes),
        _columns(features),
        write_policy(minimums),
    ]
    first = [] if large is None else [large.tell(len(frame))]
    first += [minimums.note] if minimums.note else []
    return Draft("\n".join(parts), (*first, *_notes(target, classes, features)))


def _notes(target: str, classes: Classes, features: list[Feature]) -> tuple[str, ...]:
    positive = f"the positive class is {show(classes.names[-1])} ({classes.why})"
    return (
        *([f"{positive}; --positive changes it"] if classes.why else []),
        *(f"{show(target)}: {note}" for note in classes.notes),
        *(
            f"left out: {show(feature.name)} is {feature.left_out}"
            for feature in features
            if feature.left_out
        ),
        *(f"{show(feature.name)}: {note}" for feature in features for note in feature.notes),
    )


def key_of(name: str) -> str:
    """A name as a key of TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quote(name)


def _head(name: str, path: Path, key: str | None, group: str | None, looked_at: str) -> str:
    lines = [
        f"# Guessed from {path.name.encode('unicode_escape').decode()}: check every line, "
        "you know the data better.",
        *([f"# {looked_at}"] if looked_at else []),
        "# docs/loop-toml.md in the closedloop repository explains every key.",
        "",
        f"name = {quote(re.sub(r'[^A-Za-z0-9_-]+', '_', name).strip('_') or 'use_case')}",
        f"key = {quote(key)}  # unique within a window; links labels to predictions"
        if key
        else '# key = "COLUMN"  # unique within a window; links labels to predictions (no '
        "column looked like a key)",
        f"group = {quote(group)}  # rows with the same value belong together, such as a customer's"
        if group
        else '# group = "COLUMN"  # if the same customer appears on several rows: who it is',
        '# golden = "golden.json"  # cases every model must get right before it is promoted',
    ]
    return "\n".join(lines) + "\n"


def _target(target: str, classes: Classes) -> str:
    listed = ", ".join(quote(label) for label in classes.names)
    note = (
        f"  # the second is the positive class ({classes.why}): swap them if that is wrong"
        if classes.why
        else ""
    )
    told = "".join(f"# {said}\n" for said in classes.notes)
    delay = "delay_windows = 0  # 1: labels arrive one window later"
    return (
        f"[target]\ncolumn = {quote(target)}\n{told}classes = "
        f"[{listed}]{note}\n\n[labels]\n{delay}\n\n{_SCHEDULE}"
    )


def _columns(features: Iterable[Feature]) -> str:
    kept, left_out = [], []
    for feature in features:
        if feature.left_out:
            left_out.append(f"# left out: {quote(feature.name)} is {feature.left_out}")
        else:
            kept.append("\n".join([f"[columns.{key_of(feature.name)}]", *feature.lines]) + "\n")
    head = (
        "# The data contract: a window is broken if more than max_bad_rate (default 0.01) of the\n"
        "# values of a column are out of bounds, or too many are null."
    )
    return "\n".join([head, *left_out, "", *kept])
