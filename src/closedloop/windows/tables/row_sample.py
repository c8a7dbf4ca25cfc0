"""A random sample of the rows of tables of any size: all rows while they are few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

_SEED = 0


@dataclass(frozen=True)
class RowSample:
    """Rows of a table of `rows` rows, in its order, and the place of each, from 0.

    `chances` decide which rows of several tables stay; `whole` is the one column, if any, of which
    all values were asked for.
    """

    frame: pd.DataFrame
    rows: int
    places: NDArray[np.int64]
    chances: NDArray[np.float64]
    whole: pd.Series[Any] | None = None


class RowSampler:
    """Draws `most` rows from one table after the other, from the same tables always the same."""

    def __init__(self, most: float) -> None:
        self._most, self._draw = most, np.random.default_rng(_SEED)
        self._bound = 1.0

    def draw(self, rows: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The chances of the next rows, and which of them are in the sample so far."""
        chances = self._draw.random(rows)
        return chances, chances < self._bound

    def are_too_many(self, rows: int) -> bool:
        """Whether a sample of so many rows should be cut."""
        return rows > 2 * self._most

    def cut(self, chances: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows with these chances stay in the sample: at most as many as were asked for."""
        if len(chances) > self._most:
            self._bound = float(np.partition(chances, int(self._most))[int(self._most)])
        return chances < self._bound

    def cut_all(self, samples: Iterable[RowSample]) -> list[RowSample]:
        """The samples of several tables as one: all their rows, or as many as were asked for."""
        samples = list(samples)
        self.cut(np.concatenate([sample.chances for sample in samples]))
        return [_choose(sample, sample.chances < self._bound) for sample in samples]


def _choose(sample: RowSample, stay: NDArray[np.bool_]) -> RowSample:
    if stay.all():
        return sample
    return replace(
        sample,
        frame=sample.frame[stay].reset_index(drop=True),
        places=sample.places[stay],
        chances=sample.chances[stay],
    )
