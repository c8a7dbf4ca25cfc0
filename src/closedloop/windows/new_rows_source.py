"""A source whose windows hold all rows so far, read as windows of new rows only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from closedloop.use_case.contract import UseCase
from closedloop.windows.prepare import prepare
from closedloop.windows.repeated_rows import hash_rows
from closedloop.windows.sources import (
    UnreadableWindow,
    WindowSource,
    choose_rows,
    read_chunks,
    regroup,
    tell_remarks,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


class NewRowsSource:
    """The rows of each window whose key no window before it holds (`new_rows = true`).

    Without a key, a row is known by features and target, and as often as a window before holds it.
    Reading a window reads those before it, each once in the life of this object, which keeps
    twelve bytes for each row.
    """

    def __init__(self, source: WindowSource, use_case: UseCase) -> None:
        self._source, self._use_case = source, use_case
        self._learnt: tuple[str, ...] = ()
        # Sorted hashes of all rows of the windows learnt, and the first window that holds each.
        self._rows = np.empty(0, dtype=np.uint64)
        self._first = np.empty(0, dtype=np.int32)

    @property
    def whole(self) -> WindowSource:
        """The source whose windows hold all rows."""
        return self._source

    def windows(self) -> tuple[str, ...]:
        """As the source."""
        return self._source.windows()

    def remarks(self) -> tuple[str, ...]:
        """As the source."""
        return tell_remarks(self._source)

    def read(self, window: str) -> pd.DataFrame:
        """The new raw rows of one window; raises SourceError as the source does."""
        if (index := self._place(window)) is None:
            return self._source.read(window)  # raises with its advice
        raw = self._source.read(window)
        return raw[self._are_new([raw], index)].reset_index(drop=True)

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """As `InChunks.chunks`. All rows are read twice: those that are new are found first."""
        if (index := self._place(window)) is None:
            yield self._source.read(window)  # raises with its advice
            return
        new = self._are_new(read_chunks(self._source, window, rows), index)
        found = choose_rows(read_chunks(self._source, window, rows), new, f"window {window}")
        yield from regroup(found, rows)

    def _place(self, window: str) -> int | None:
        """The place of a window, when those before it are learnt; None for an unknown one."""
        names = self.windows()
        if window not in names:
            return None
        index = names.index(window)
        self._learn(names[:index])
        return index

    def _are_new(self, parts: Iterable[pd.DataFrame], index: int) -> NDArray[np.bool_]:
        first = self._find(self._number_rows(parts))
        return np.asarray((first < 0) | (first >= index))

    def _learn(self, names: tuple[str, ...]) -> None:
        """Note the rows of these windows, oldest first; anew, if one came in between."""
        together = min(len(names), len(self._learnt))
        if self._learnt[:together] != names[:together]:
            self._learnt, self._rows, self._first = (), self._rows[:0], self._first[:0]
        for name in names[len(self._learnt) :]:
            try:
                rows = np.unique(self._number_rows(read_chunks(self._source, name)))
            except UnreadableWindow:
                rows = self._rows[:0]  # that is no fault of the window that was asked for
            rows = rows[self._find(rows) < 0]
            places = np.searchsorted(self._rows, rows)
            self._rows = np.insert(self._rows, places, rows)
            self._first = np.insert(self._first, places, len(self._learnt))
            self._learnt += (name,)

    def _find(self, rows: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The first window that holds each row, -1 for none of those learnt."""
        if not len(self._rows):
            return np.full(len(rows), -1, dtype=np.int32)
        places = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        return np.where(self._rows[places] == rows, self._first[places], -1)

    def _number_rows(self, parts: Iterable[pd.DataFrame]) -> NDArray[np.uint64]:
        """A hash of each row; without a key the second of two equal rows is another row."""
        import pandas as pd

        use_case, hashes, by_key = self._use_case, [np.empty(0, dtype=np.uint64)], False
        for raw in parts:
            prepared = prepare(raw, use_case)
            by_key = use_case.key is not None and use_case.key in prepared
            hashes.append(hash_rows(prepared[[use_case.key]] if by_key else prepared))
        rows = np.concatenate(hashes)
        if by_key:
            return rows
        copy = pd.Series(rows).groupby(rows).cumcount().to_numpy(dtype=np.uint64)
        return rows + copy * np.uint64(0x9E3779B97F4A7C15)
