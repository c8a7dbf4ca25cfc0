"""A part of the labelled rows, where all of them would take longer than the answer is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from closedloop.training.candidates import LabelledWindow


def sample_windows(
    windows: tuple[LabelledWindow, ...], rows: int, seed: int
) -> tuple[LabelledWindow, ...]:
    """The same share of each window, about `rows` rows together, or all where there are fewer.

    A larger share holds the rows of a smaller one: two samples differ as little as they can.
    """
    share = rows / max(1, sum(len(window.labels) for window in windows))
    return tuple(window if share >= 1 else _sample(window, share, seed) for window in windows)


def _sample(window: LabelledWindow, share: float, seed: int) -> LabelledWindow:
    order = np.random.default_rng([seed, window.index]).permutation(len(window.labels))
    kept = np.sort(order[: max(1, round(share * len(order)))])
    return replace(window, frame=window.frame.iloc[kept], labels=window.labels[kept])
