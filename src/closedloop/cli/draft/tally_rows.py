"""What rows of a large table have in common: keys that repeat, groups, and the rows that judge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.facts import Counts
from closedloop.cli.draft.policy import name_keys
from closedloop.use_case.contract import MISSING
from closedloop.windows.prepare import read_categories

_ENOUGH_OF_A_CLASS = 5_000
_MOST_ROWS = 100_000
_EARLY = 3  # chunks in which keys that are none are found at once
_LABEL, _PLACE = "label of the row", "place in the window"


class KeyTally:
    """Whether the values of a column repeat: eight bytes a row, until one does.

    Values are told apart by a hash of 64 bits: two of ten million different ones share theirs in
    one of 370,000 tables.
    """

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.uint64]] = []
        self._windows: list[Counts] = []
        self._repeats = False

    def add(self, values: pd.Series[Any], windows: Counts) -> None:
        """Look at the rows of a chunk."""
        if self._repeats:
            return
        plain = values.to_numpy(dtype=None if values.dtype.kind in "iufb" else object)
        hashes = np.asarray(pd.util.hash_array(plain, categorize=False), dtype=np.uint64)
        early = len(self._hashes) < _EARLY and _repeat(hashes, windows)
        if values.isna().any() or early:
            self._repeats = True
            self._hashes, self._windows = [], []
            return
        self._hashes.append(hashes)
        self._windows.append(windows)

    def repeats(self) -> bool:
        """Whether a value is null, or occurs twice in a window."""
        if not self.different and not self._repeats:
            self._repeats = _repeat(np.concatenate(self._hashes), np.concatenate(self._windows))
        return self._repeats

    @cached_property
    def different(self) -> bool:
        """Whether every row of the table has a value of its own."""
        if self._repeats:
            return False
        ordered = np.sort(np.concatenate(self._hashes))
        return not bool(np.any(ordered[1:] == ordered[:-1]))


def _repeat(hashes: NDArray[np.uint64], windows: Counts) -> bool:
    order = np.lexsort((hashes, windows))
    hashes, windows = hashes[order], windows[order]
    return bool(np.any((hashes[1:] == hashes[:-1]) & (windows[1:] == windows[:-1])))


class GroupTally:
    """Which groups have which label in which window."""

    def __init__(self) -> None:
        self._found: list[pd.DataFrame] = []
        self._rows = 0

    def add(self, groups: pd.Series[Any], labels: pd.Series[str], windows: Counts) -> None:
        """Look at the rows of a chunk. A row without a value is a group of its own."""
        names = read_categories(groups)
        units = np.asarray(pd.util.hash_array(names), dtype=np.uint64)
        alone = np.flatnonzero(names == MISSING)
        units[alone] = (self._rows + alone).astype(np.uint64)
        self._rows += len(names)
        found = pd.DataFrame({"window": windows, "label": labels.to_numpy(), "unit": units})
        self._found.append(found.drop_duplicates())

    def counts(self, label_of: Mapping[str, str]) -> pd.Series[int]:
        """How many groups have each label in each window."""
        found = pd.concat(self._found)
        found["label"] = found["label"].map(label_of)
        return found.dropna().drop_duplicates().groupby(["window", "label"]).size()


class JudgingRows:
    """The first rows of each label in one window: enough to see what its held-out part has."""

    def __init__(self, window: int) -> None:
        self.window, self._rows = window, 0
        self._seen: dict[str, int] = {}
        self._kept: list[pd.DataFrame] = []

    def add(self, labels: pd.Series[str], windows: Counts, columns: pd.DataFrame) -> None:
        """Keep rows of a chunk, with the `columns` that a key or a group may be in."""
        inside = np.flatnonzero(windows == self.window)
        places, self._rows = self._rows + np.arange(len(inside)), self._rows + len(inside)
        if not len(inside) or sum(self._seen.values()) > _MOST_ROWS:
            return
        told = labels.iloc[inside].reset_index(drop=True)
        before = told.map(self._seen).fillna(0).to_numpy(dtype=np.int64)
        few = np.flatnonzero(told.groupby(told).cumcount() + before < _ENOUGH_OF_A_CLASS)
        for label, rows in told.iloc[few].value_counts().items():
            self._seen[str(label)] = self._seen.get(str(label), 0) + int(rows)
        kept = columns.iloc[inside[few]].reset_index(drop=True)
        self._kept.append(kept.assign(**{_LABEL: told.iloc[few].to_numpy(), _PLACE: places[few]}))

    def judging(self, label_of: Mapping[str, str], key: str | None, group: str | None) -> Any:
        """The rows with a label, as `choose_minimums` has them."""
        rows = pd.concat(self._kept, ignore_index=True)
        places = rows[_PLACE].astype(str)
        groups = pd.Series(read_categories(rows[group])) if group else None
        keys = name_keys(places, rows[key] if key else None, groups)
        units = places if groups is None else groups.where(groups != MISSING, "row " + places)
        found = pd.DataFrame({"label": rows[_LABEL].map(label_of), "unit": units, "key": keys})
        return found[found["label"].notna()]
