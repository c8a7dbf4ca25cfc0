"""What `closedloop doctor` says about odd windows: copies, empty ones, gaps, unusual sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from statistics import median

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.errors import SourceError, name_some
from closedloop.turn.open import Loop
from closedloop.windows.copied_names import find_copies
from closedloop.windows.files_source import FilesSource
from closedloop.windows.missing import find_missing
from closedloop.windows.new_rows_source import NewRowsSource
from closedloop.windows.prepare import prepare
from closedloop.windows.repeated_rows import hash_rows
from closedloop.windows.sources import UnreadableWindow, read_chunks

# So many are read: a long history takes longer than people wait for the doctor.
_WINDOWS = 24
_SHOWN = 5
_SMALL = 0.1  # of the usual size
_SAME = 0.9  # of the rows of both windows
_MOVE = "move one of each two out of the folder, or narrow `windows` in [source]"


def window_checks(loop: Loop) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks of odd windows by their names; each returns what it found, or raises."""
    survey = _Survey(loop)
    yield "copies", survey.find_copies
    yield "empty windows", survey.find_empty
    yield "gaps and sizes", survey.describe


class _Survey:
    """All names and the rows of the newest windows, which are read once."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self._loop.source.windows()

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.uint64]]:
        """A hash of each row, by window; windows that cannot be read are told elsewhere."""
        found = {}
        for name in self._names[-_WINDOWS:]:
            try:
                chunks = read_chunks(self._loop.source, name)
                found[name] = np.sort(np.concatenate([self._hash(raw) for raw in chunks]))
            except UnreadableWindow:
                continue
        return found

    def _hash(self, raw: pd.DataFrame) -> NDArray[np.uint64]:
        use_case = self._loop.use_case
        prepared = prepare(raw, use_case)
        wanted = (use_case.key, *use_case.columns)
        return hash_rows(prepared[[name for name in wanted if name in prepared]])

    def find_copies(self) -> str:
        """That no window is a copy of another; raises SourceError for those that are."""
        named = find_copies(self._names)
        told = [f"{name}, by its name a copy of {original}" for name, original in named.items()]
        held = {name: rows for name, rows in self._rows.items() if len(rows)}
        for place, name in enumerate(held):
            for earlier in list(held)[:place]:
                if name not in named and self._are_same(held[name], held[earlier]):
                    told.append(f"{name}, with the rows of {earlier}")
        if told:
            raise SourceError(
                where="windows",
                wanted="each window once",
                got=name_some(told, _SHOWN, "; "),
                then=_MOVE,
            )
        return "no window is a copy of another"

    def _are_same(self, rows: NDArray[np.uint64], others: NDArray[np.uint64]) -> bool:
        if self._loop.use_case.key is None:
            # Without keys rows may be equal by chance, but not all of them.
            return np.array_equal(rows, others)
        shared = len(np.intersect1d(rows, others))
        return shared >= _SAME * max(len(rows), len(others))

    def find_empty(self) -> str:
        """That every window has rows; raises SourceError with those that have none."""
        empty = [name for name, rows in self._rows.items() if not len(rows)]
        if empty:
            raise SourceError(
                where=f"windows {name_some(empty, _SHOWN)}",
                wanted="at least one row in each",
                got="none",
                then="export them again, or move them out of the folder; a turn on such a window "
                "asks a person, and the others are looked at as ever",
            )
        return "every window has rows"

    def describe(self) -> str:
        """What need not be wrong: missing periods, small windows, files that are no windows."""
        told = []
        if missing := find_missing([name for name in self._names if not self._is_copy(name)]):
            told.append(
                f"no {name_some(missing, _SHOWN)} between other windows: if there is such a file, "
                "add it"
            )
        sizes = {name: len(rows) for name, rows in self._rows.items() if len(rows)}
        usual = median(sizes.values()) if sizes else 0
        for name, rows in sizes.items():
            if rows < _SMALL * usual:
                told.append(
                    f"{name} has {rows:,} of the usual {usual:,.0f} rows: if it is not finished, "
                    "keep it out of the folder until it is"
                )
        if hidden := self._count_hidden():
            told.append(f"{hidden} hidden or lock files beside the windows are not read")
        return "; ".join(told) or "no window is missing or unusually small"

    def _is_copy(self, name: str) -> bool:
        return name in find_copies(self._names)

    def _count_hidden(self) -> int:
        source = self._loop.source
        source = source.whole if isinstance(source, NewRowsSource) else source
        if not isinstance(source, FilesSource):
            return 0
        folders = {source.root / name for name in self._names}
        beside = {source.root, *(folder.parent for folder in folders)}
        return sum(
            path.name.startswith((".", "~$")) and path.is_file()
            for folder in beside
            if folder.is_dir()
            for path in folder.iterdir()
        )
