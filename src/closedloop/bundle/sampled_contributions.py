"""Contributions to the margin of any model, estimated over random orders of its columns.

Along an order, the values of a background row are replaced by those of the explained row, column by
column; what each replacement adds to the margin is averaged over the orders. Along each order the
sum is margin minus margin of the background row, so the averages add up exactly. Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows that the model scores for one explained row, at most; two pairs of orders are the least.
MAX_EVALUATIONS = 4_000
_FEWEST_PAIRS = 2
_CELLS_AT_ONCE = 1_000_000
_SEED = 0
# A forest may be sure: its probability 0 has no log odds.
SMALLEST_PROBABILITY = 1e-6


class Sampler:
    """Estimates by a fixed choice of background rows and orders, so a row has one answer.

    `evaluations` is how many rows the model scores to explain one.
    """

    def __init__(
        self,
        probabilities: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
        numbers: NDArray[np.float64],
        texts: NDArray[Any],
    ) -> None:
        draw = np.random.default_rng(_SEED)
        self._probabilities = probabilities
        self._width = numbers.shape[1] + texts.shape[1]
        self._steps = self._width - 1
        affordable = MAX_EVALUATIONS // max(2 * self._steps, 1)
        self._pairs = max(_FEWEST_PAIRS, min(affordable, len(numbers)))
        chosen = np.resize(draw.permutation(len(numbers)), self._pairs)
        orders = draw.permuted(np.tile(np.arange(self._width), (self._pairs, 1)), axis=1)
        # The place of each column in an order, and in the same order backwards.
        self._places = np.concatenate([orders, self._steps - orders])
        self._numbers, self._texts = (np.tile(side[chosen], (2, 1)) for side in (numbers, texts))
        self._starts = self._margins(self._numbers, self._texts)
        self.evaluations = len(self._places) * self._steps + 1

    def explain(
        self, numbers: NDArray[np.float64], texts: NDArray[Any]
    ) -> tuple[NDArray[np.float64], ...]:
        """Margins (n, m), base (m,), contributions and their standard errors (n, m, d)."""
        margins = self._margins(numbers, texts)
        values = np.empty((*margins.shape, self._width))
        errors = np.empty_like(values)
        for row, margin in enumerate(margins):
            added = self._follow(numbers[row], texts[row], margin)
            pairs = (added[: self._pairs] + added[self._pairs :]) / 2
            values[row] = pairs.mean(axis=0).T
            errors[row] = pairs.std(axis=0, ddof=1).T / np.sqrt(self._pairs)
        return margins, self._starts.mean(axis=0), values, errors

    def _follow(
        self,
        numbers: NDArray[np.float64],
        texts: NDArray[Any],
        margin: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What each column of a row adds along each order, (orders, d, m)."""
        orders, split = len(self._places), self._numbers.shape[1]
        along = np.empty((orders * self._steps, len(margin)))
        at_once = max(1, _CELLS_AT_ONCE // self._width)
        for first in range(0, len(along), at_once):
            block = np.arange(first, min(first + at_once, len(along)))
            order, step = np.divmod(block, self._steps)
            replaced = self._places[order] <= step[:, np.newaxis]
            along[block] = self._margins(
                np.where(replaced[:, :split], numbers, self._numbers[order]),
                np.where(replaced[:, split:], texts, self._texts[order]),
            )
        between = along.reshape(orders, self._steps, -1)
        ends = np.broadcast_to(margin, (orders, 1, len(margin)))
        added = np.diff(
            np.concatenate([self._starts[:, np.newaxis], between, ends], axis=1), axis=1
        )
        return np.take_along_axis(added, self._places[:, :, np.newaxis], axis=1)

    def _margins(self, numbers: NDArray[Any], texts: NDArray[Any]) -> NDArray[np.float64]:
        """Log odds of the second of two classes (n, 1), or logarithms of k probabilities (n, k)."""
        shares = np.asarray(self._probabilities(numbers, texts), dtype=np.float64)
        logs: NDArray[np.float64] = np.log(np.maximum(shares, SMALLEST_PROBABILITY))
        return logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs
