"""What `closedloop init` knows of a table before it describes its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from closedloop.cli.draft.classes import Classes
from closedloop.cli.draft.columns import look_at_column, repeats
from closedloop.cli.draft.facts import Facts, RowWindows
from closedloop.cli.draft.numbers import Numbers, find_numbers
from closedloop.cli.draft.policy import Minimums, find_minimums
from closedloop.windows.prepare import read_categories, select_column


@dataclass(frozen=True)
class Named:
    """The columns that the user named, none of which is a feature but perhaps the key."""

    target: str
    key: str | None
    group: str | None
    windows: str | None


@dataclass(frozen=True)
class KnownTable:
    """The rows looked at, what is known of each column and of the target, and of all rows:

    whether a column repeats within a window, and the minimums that the windows can meet.
    """

    frame: pd.DataFrame
    windows: RowWindows
    facts: Mapping[str, Facts]
    numbers: Mapping[str, Numbers | None]
    target: Facts
    repeats: Callable[[str], bool]
    minimums: Callable[[Classes, str | None], Minimums]


def look_at_table(frame: pd.DataFrame, windows: RowWindows, named: Named) -> KnownTable:
    """What the rows of `frame` say."""
    others = (named.target, named.key, named.group, named.windows)
    facts = {
        str(column): look_at_column(select_column(frame, column).reset_index(drop=True), windows)
        for column in dict.fromkeys(frame.columns)
        if column not in others
    }

    def minimums(classes: Classes, key: str | None) -> Minimums:
        labels = pd.Series(read_categories(select_column(frame, named.target), classes.names))
        keys = select_column(frame, key) if key else None
        group = named.group
        groups = pd.Series(read_categories(select_column(frame, group))) if group else None
        return find_minimums(labels, windows.of_row, classes.names, keys, groups)

    return KnownTable(
        frame,
        windows,
        facts,
        {column: find_numbers(found, windows) for column, found in facts.items()},
        look_at_column(select_column(frame, named.target).reset_index(drop=True), windows),
        lambda column: repeats(frame[column], windows.of_row),
        minimums,
    )
