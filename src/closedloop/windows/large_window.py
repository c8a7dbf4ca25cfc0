"""A window of any size, read once: all rows are counted, of a large one a sample is kept."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_counts import ContractCounts
from closedloop.windows.prepare import digest, prepare
from closedloop.windows.sources import NOTES, WindowSource, read_chunks
from closedloop.windows.tables.row_sample import RowSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NORMAL_95 = 1.96


@dataclass(frozen=True)
class CountedWindow:
    """A window whose rows were all counted. `prepared` are the rows that were kept.

    `labels` is the number of rows of each class, and `digest` that of all rows. `notes` are
    sentences for people; `names` are the columns of the source.
    """

    prepared: pd.DataFrame
    counts: ContractCounts
    labels: NDArray[np.int64]
    digest: str
    notes: tuple[str, ...]
    names: tuple[str, ...]


def count_and_sample(source: WindowSource, window: str, use_case: UseCase) -> CountedWindow:
    """Read a window; of one with more rows than `[compute] memory` holds, keep a seeded sample.

    Raises SourceError as the source does.
    """
    most = use_case.compute.rows(len(use_case.columns))
    counts, kept, content = ContractCounts(use_case), FrameSample(most), WindowDigest(use_case)
    labels = np.zeros(len(use_case.target.classes), dtype=np.int64)
    notes: dict[str, None] = {}
    names: dict[str, None] = {}
    for raw in read_chunks(source, window, most):
        prepared = prepare(raw, use_case)
        counts.add(raw, prepared)
        kept.add(prepared)
        content.add(prepared)
        labels += count_labels(prepared, use_case)
        notes |= dict.fromkeys(raw.attrs.get(NOTES, ()))
        names |= dict.fromkeys(map(str, raw.columns))
    notes |= dict.fromkeys(tell_sample(len(kept.frame), counts.rows))
    return CountedWindow(
        kept.frame, counts, labels, content.hexdigest(), tuple(notes), tuple(names)
    )


def sample_window(source: WindowSource, window: str, use_case: UseCase) -> pd.DataFrame:
    """The raw rows of a window; of a large one those that `count_and_sample` keeps.

    Raises SourceError as the source does.
    """
    most = use_case.compute.rows(len(use_case.columns))
    kept, notes = FrameSample(most), dict[str, None]()
    for raw in read_chunks(source, window, most):
        kept.add(raw)
        notes |= dict.fromkeys(raw.attrs.get(NOTES, ()))
    frame = kept.frame
    if notes:
        frame.attrs[NOTES] = tuple(notes)
    return frame


@dataclass(frozen=True)
class SampledSource:
    """A source whose large windows are samples of themselves: a replay keeps all of them."""

    source: WindowSource
    use_case: UseCase

    def windows(self) -> tuple[str, ...]:
        """As the source."""
        return self.source.windows()

    def read(self, window: str) -> pd.DataFrame:
        """As `sample_window`."""
        return sample_window(self.source, window, self.use_case)


def count_labels(prepared: pd.DataFrame, use_case: UseCase) -> NDArray[np.int64]:
    """Rows of each class."""
    target = use_case.target
    if target.column not in prepared:
        return np.zeros(len(target.classes), dtype=np.int64)
    found = prepared[target.column].value_counts()
    return np.array([found.get(label, 0) for label in target.classes], dtype=np.int64)


def tell_sample(kept: int, rows: int) -> tuple[str, ...]:
    """That a window was too large to be kept, with the error of a share measured on the sample."""
    if kept == rows:
        return ()
    error = 100 * _NORMAL_95 * math.sqrt(0.25 / kept)
    return (
        f"{kept:,} of {rows:,} rows, drawn at random, stand for all where models and drift are "
        f"measured: a share is known to {error:.2f} percentage points (95 %); the contract counts "
        "all rows. `memory` in [compute] sets how many",
    )


class FrameSample:
    """At most `most` rows of frames that come one after the other; of a single frame all rows."""

    def __init__(self, most: int) -> None:
        self._sampler = RowSampler(most)
        self._frames: list[pd.DataFrame] = []
        self._chances: list[NDArray[np.float64]] = []

    def add(self, frame: pd.DataFrame) -> None:
        """Look at the next frame."""
        chances, stay = self._sampler.draw(len(frame))
        self._frames.append(frame if stay.all() else frame[stay])
        self._chances.append(chances[stay])
        if self._sampler.are_too_many(sum(map(len, self._chances))):
            self._cut()

    @property
    def frame(self) -> pd.DataFrame:
        """The rows of the sample, in their order."""
        if len(self._frames) > 1:
            self._cut()
        return self._frames[0]

    def _cut(self) -> None:
        frame, chances = pd.concat(self._frames), np.concatenate(self._chances)
        stay = self._sampler.cut(chances)
        self._frames, self._chances = [frame[stay].reset_index(drop=True)], [chances[stay]]


class WindowDigest:
    """sha256 of all cells of a window.

    `digest` of one that is added at once. Otherwise that of its numbers and of a 64-bit hash of
    each text, column by column, in however many parts: faster, and a change of texts stays unseen
    once in 2^64 times.
    """

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._first: pd.DataFrame | None = None
        self._columns: dict[str, Any] = {}

    def add(self, prepared: pd.DataFrame) -> None:
        """The next rows."""
        if self._first is None and not self._columns:
            self._first = prepared
            return
        for part in (self._first, prepared):
            if part is not None:
                self._update(part)
        self._first = None

    def hexdigest(self) -> str:
        """The digest of all rows so far; nothing is added after it."""
        if self._first is not None:
            return digest(self._first, self._use_case)
        whole = hashlib.sha256()
        for name, content in self._columns.items():
            whole.update(f"\n{name}\n".encode())
            whole.update(content.digest())
        return whole.hexdigest()

    def _update(self, prepared: pd.DataFrame) -> None:
        for name in prepared:
            values = prepared[name].to_numpy()
            if values.dtype == object:
                numbers = pd.util.hash_array(values, categorize=name != self._use_case.key)
            else:
                # All NaNs and both zeros count as equal.
                numbers = np.where(np.isnan(values), np.nan, values + 0.0)
            self._columns.setdefault(str(name), hashlib.sha256()).update(numbers.tobytes())
