"""Counts of what breaks the contract, over all rows of a window, some rows at a time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.use_case.contract import MISSING, Column, UseCase
from closedloop.windows.prepare import convert_values, select_column
from closedloop.windows.spelling import says_nothing
from closedloop.windows.unknown_labels import UnknownLabels, count_unknown_labels

_MOST_SPELLINGS = 100_000  # values with more different ones are counted together


@dataclass
class ValueCounts:
    """The values of one feature: `nulls` are null once they are read.

    Of a numeric column, `unreadable` of the `given` values are no numbers, such as `example`, and
    `outside` are beyond its limits. Of a categorical one, `unknown` are not allowed, `more` of
    them with a spelling that is not kept.
    """

    nulls: int = 0
    given: int = 0
    unreadable: int = 0
    example: str = ""
    outside: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    more: int = 0

    def add_numbers(self, raw: pd.Series[Any], values: pd.Series[float], column: Column) -> None:
        """Count the rows of a part."""
        numbers = values.to_numpy(dtype=np.float64)
        null = np.isnan(numbers)
        given = ~np.asarray(
            raw.isna() if pd.api.types.is_numeric_dtype(raw) else convert_values(raw, says_nothing),
            dtype=bool,
        )
        unreadable = given & null
        if unreadable.any() and not self.unreadable:
            self.example = str(raw.to_numpy()[unreadable.argmax()])[:40]
        low = -math.inf if column.minimum is None else column.minimum
        high = math.inf if column.maximum is None else column.maximum
        self.nulls += int(null.sum())
        self.given += int(given.sum())
        self.unreadable += int(unreadable.sum())
        self.outside += int(((numbers < low) | (numbers > high)).sum())

    def add_categories(self, values: pd.Series[str], column: Column) -> None:
        """Count the rows of a part."""
        missing = values == MISSING
        self.nulls += int(missing.sum())
        if not column.allowed:
            return
        present = values[~missing]
        for value, rows in present[~present.isin(column.allowed)].value_counts().items():
            if str(value) in self.unknown or len(self.unknown) < _MOST_SPELLINGS:
                self.unknown[str(value)] += int(rows)
            else:
                self.more += int(rows)


class ContractCounts:
    """All that the contract asks of the rows of a window."""

    def __init__(self, use_case: UseCase) -> None:
        self.use_case, self.rows = use_case, 0
        self.features = {name: ValueCounts() for name in use_case.columns}
        self.labels = UnknownLabels(0, {})
        self.names: dict[str, None] = {}  # the columns of any part, in order
        self._keys: list[NDArray[np.uint64]] = []

    def add(self, raw: pd.DataFrame, prepared: pd.DataFrame) -> None:
        """Count the rows of a part, raw and prepared."""
        self.rows += len(raw)
        self.names |= dict.fromkeys(map(str, raw.columns))
        for name, column in self.use_case.columns.items():
            counts, values = self.features[name], prepared[name]
            if column.type == "categorical":
                counts.add_categories(values, column)
            elif name in raw.columns:
                counts.add_numbers(select_column(raw, name), values, column)
            else:
                counts.nulls += len(values)
        if self.use_case.key in prepared:
            self._keys.append(hash_keys(prepared[self.use_case.key]))
        self.labels += count_unknown_labels(raw, prepared, self.use_case)

    def repeated_keys(self) -> NDArray[np.uint64]:
        """The hash of the key of each row that shares it with another one, equals side by side."""
        hashes = np.sort(np.concatenate([np.zeros(0, dtype=np.uint64), *self._keys]))
        same = hashes[1:] == hashes[:-1]
        shared = np.zeros(len(hashes), dtype=np.bool_)
        shared[1:] = same
        shared[: len(same)] |= same
        return np.asarray(hashes[shared])


def hash_keys(keys: pd.Series[Any]) -> NDArray[np.uint64]:
    """A hash of each prepared key: two of ten million different ones seldom share theirs."""
    return np.asarray(
        pd.util.hash_array(keys.to_numpy(dtype=object), categorize=False), dtype=np.uint64
    )
