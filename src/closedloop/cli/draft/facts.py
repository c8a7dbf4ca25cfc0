"""What a table's rows say about a column: all rows, or a sample of them and what was counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.use_case.contract import MISSING
from closedloop.windows.prepare import convert_values
from closedloop.windows.spelling import NULLS, spell_category

Counts = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class RowWindows:
    """The windows of a table.

    `of_row` is that of each row looked at; `rows` are the rows of the table in each of `names`.
    """

    of_row: pd.Series[str]
    names: tuple[str, ...]
    rows: Counts

    @classmethod
    def of(cls, windows: pd.Series[str]) -> RowWindows:
        """The windows of a table whose rows were all looked at."""
        codes, names = pd.factorize(windows)
        return cls(windows, tuple(map(str, names)), np.bincount(codes, minlength=len(names)))

    def count(self, rows: NDArray[np.bool_]) -> Counts:
        """How many of these rows, of those looked at, each window has."""
        return np.bincount(self._codes[rows], minlength=len(self.names))

    @cached_property
    def _codes(self) -> Counts:
        """The place in `names` of the window of each row looked at."""
        return pd.Index(self.names).get_indexer(pd.Index(self.of_row))

    @cached_property
    def by_name(self) -> pd.Series[int]:
        """The window of each row looked at as a number, in the order of their names."""
        places = np.argsort(np.argsort(np.array(self.names, dtype=object)))
        return pd.Series(places[self._codes])

    def worst_share(self, rows: Counts) -> float:
        """Of the window with the highest."""
        return float(np.max(rows / np.maximum(self.rows, 1), initial=0.0))


@dataclass(frozen=True)
class Facts:
    """What is known of a column of a table of `rows` rows.

    `values` are those of the rows looked at, `texts` the same with one spelling each. `counts` has
    the rows of each text that is a value, most frequent first; of a sample they are scaled up, and
    `complete` is False. `distinct` is how many such texts there are, about, unless it is complete.
    `nulls` has the rows of each word for null in each window; MISSING stands for no value.
    """

    values: pd.Series[Any]
    texts: pd.Series[str]
    rows: int
    counts: pd.Series[int]
    distinct: int
    nulls: Mapping[str, Counts]
    complete: bool = True

    def is_null(self, words: Collection[str]) -> Counts:
        """The rows of each window that have no value, or one of these words in lower case."""
        empty = np.zeros_like(self.nulls[MISSING])
        return sum(
            (
                rows
                for word, rows in self.nulls.items()
                if word == MISSING or word.casefold() in words
            ),
            start=empty,
        )

    def known(self, words: Collection[str]) -> pd.Series[int]:
        """The rows of each value but these words."""
        return self.counts[~self.counts.index.str.casefold().isin(list(words))]


@dataclass(frozen=True)
class Spread:
    """How numbers lie: `counts` has the rows of each, from the lowest to the highest.

    `nulls` are the rows without one in each window. `different` when each row has a number of its
    own, `by_one` when it is one more than that of the row before; `growing` is the share of rows
    with a higher number than the row before.
    """

    counts: pd.Series[Any]
    nulls: Counts
    whole: bool
    different: bool
    by_one: bool
    growing: float


def write_texts(column: pd.Series[Any]) -> pd.Series[str]:
    """The values of a column as text, one spelling each; MISSING only where there is no value.

    Unlike in a prepared column, 'NA' and 'None' stay what they are.
    """
    return pd.Series(convert_values(column, spell_category), dtype=object)


def given(texts: pd.Series[str]) -> pd.Series[str]:
    """The texts that are values."""
    return texts[texts != MISSING]


def look_at(values: pd.Series[Any], texts: pd.Series[str], windows: RowWindows) -> Facts:
    """The facts of a column whose rows were all looked at."""
    counts = given(texts).value_counts()
    words = [MISSING, *(str(text) for text in counts.index if str(text).casefold() in NULLS)]
    nulls = {word: windows.count((texts == word).to_numpy()) for word in words}
    return Facts(values, texts, len(texts), counts, len(counts), nulls)


def spread_of(values: NDArray[np.float64], windows: RowWindows) -> Spread:
    """How the numbers of all rows lie, NaN where there is none."""
    present = values[~np.isnan(values)]
    counts = pd.Series(present).value_counts().sort_index()
    steps = np.diff(values)
    return Spread(
        counts=counts,
        nulls=windows.count(np.isnan(values)),
        whole=not np.any(present % 1),
        different=len(counts) == len(present) == len(values),
        by_one=bool(np.all(np.diff(present) == 1)),
        growing=float(np.mean(steps > 0)) if len(steps) else 0.0,
    )
