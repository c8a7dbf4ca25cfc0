"""What distance noise alone shows, and the limit that this sets for a column.

A fixed limit alarms on noise when windows are small: with 5,000 reference and 100 current rows, 3
of 4 undrifted numeric columns pass 0.1. So the limit of a column is the larger of `min_distance`
and what undrifted windows of these sizes would show:

- Noise: both sides are drawn again and again, with replacement, from the reference column, as many
  rows as each side has values (a bootstrap; it works whichever side is larger), and the distance is
  measured every time. Where the reference is a window, they are drawn from the rows of both sides:
  it has fewer rows than a model was trained on, and a rare value that it did not draw would seem to
  be drift (as in a permutation test: Efron and Tibshirani 1993, An Introduction to the Bootstrap).
  Numbers are drawn at most `sample_rows` a side, because time grows with each row: the distance of
  two samples shrinks like the square root of their sizes, and so does the noise.
- Limit: a gamma law with the mean and variance of the squared distances, read at
  `false_alarm_rate` over the number of comparisons (Bonferroni). Both distances behave like the
  length of a Gaussian vector, whose square is nearly gamma (Satterthwaite 1946, Biometrics Bulletin
  2:110), and a quantile of 0.0005 cannot be read off 100 draws. The variance is taken two standard
  errors high and no limit lies below the largest draw, because an overlooked tail costs alarms for
  ever.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import gamma

Floats = NDArray[np.float64]

LARGEST_JENSENSHANNON = float(np.sqrt(np.log(2)))
SMALLEST_SPREAD = 0.001  # Evidently divides by no smaller standard deviation
_MOST_NUMBERS = 1_000_000
_MOST_COUNTED = 10  # values for each drawn one: with more, sorting the drawn ones is faster


def measure_wasserstein(values: Floats, reference: Floats, current: Floats) -> float:
    """Evidently's distance of two samples, as shares (v,) of the sorted distinct `values` (v,).

    It is the area between the two distribution functions over the reference's standard deviation.
    """
    spread = np.sqrt(max(float(reference @ np.square(values - reference @ values)), 0.0))
    return float(np.abs(np.cumsum(reference - current)[:-1]) @ np.diff(values)) / max(
        float(spread), SMALLEST_SPREAD
    )


def measure_jensenshannon(reference: Floats, current: Floats) -> Floats:
    """Evidently's distance of shares (..., k) of the same k categories, 0 to sqrt(ln 2) = 0.83.

    It is the square root of the divergence.
    """
    middle = (reference + current) / 2
    divergence = (
        xlogy(reference, reference) + xlogy(current, current) - 2 * xlogy(middle, middle)
    ).sum(axis=-1) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))


def compare_numbers(reference: Floats, current: Floats) -> float:
    """`measure_wasserstein` of two samples (n,) and (m,); not finite when a number is too large."""
    with np.errstate(all="ignore"):
        area = _measure_area(np.sort(reference), np.sort(current))
        return area / max(float(np.std(reference)), SMALLEST_SPREAD)


def _measure_area(reference: Floats, current: Floats) -> float:
    """The area between the distribution functions of two sorted samples.

    Looking up sorted values is many times faster than counting distinct ones.
    """
    if len(reference) == len(current):
        return float(np.abs(reference - current).mean())
    values = np.sort(np.concatenate([reference, current]))
    heights = [
        np.searchsorted(side, values[:-1], side="right") / len(side)
        for side in (reference, current)
    ]
    # A product of two vectors would start threads, which cost more than they win here.
    return float((np.abs(heights[0] - heights[1]) * np.diff(values)).sum())


def draw_wasserstein_noise(
    values: Floats, sizes: tuple[int, int], most: int, resamples: int, rng: np.random.Generator
) -> Floats:
    """Distances between so many and so many draws from the same values, shape (resamples,).

    No more than `most` are drawn a side; what is longer for that is shortened.
    """
    drawn = tuple(min(size, most) for size in sizes)
    if drawn != sizes:
        return _draw_shorter(values, sizes, drawn, resamples, rng)
    # Counting is faster than sorting each draw.
    distinct, place = np.unique(values, return_inverse=True)

    def shares(size: int) -> Floats:
        return (
            np.bincount(place[rng.integers(0, len(values), size)], minlength=len(distinct)) / size
        )

    return np.array(
        [measure_wasserstein(distinct, *(shares(size) for size in sizes)) for _ in range(resamples)]
    )


def _draw_shorter(
    values: Floats,
    sizes: tuple[int, int],
    drawn: tuple[int, ...],
    resamples: int,
    rng: np.random.Generator,
) -> Floats:
    """Each time from all values, over the spread of all: a few of them lack the rare ones."""
    longer = sum(1 / size for size in drawn) / sum(1 / size for size in sizes)
    draws = ([rng.integers(0, len(values), size) for size in drawn] for _ in range(resamples))
    with np.errstate(all="ignore"):
        unit = max(float(np.std(values)), SMALLEST_SPREAD) * math.sqrt(longer)
        if len(values) > _MOST_COUNTED * sum(drawn):
            areas = [_measure_area(*(np.sort(values[side]) for side in draw)) for draw in draws]
        else:
            distinct, place = np.unique(values, return_inverse=True)
            gaps, every = np.diff(distinct), len(distinct)
            shares = (
                [np.bincount(place[side], minlength=every) / len(side) for side in draw]
                for draw in draws
            )
            areas = [(np.abs(np.cumsum(before - now)[:-1]) * gaps).sum() for before, now in shares]
        return np.array(areas) / unit


def draw_jensenshannon_noise(
    counts: NDArray[Any], sizes: tuple[int, int], resamples: int, rng: np.random.Generator
) -> Floats:
    """Distances between so many and so many draws from the same categories, (resamples,).

    Some rows will be of categories that the `counts` have not shown yet: as many as they showed
    just once (Good 1953, Biometrika 40:237), at least half a row. Such a row has no match on the
    other side.
    """
    seen, (before, rows) = int(counts.sum()), sizes
    new = min(1.0, max(float((counts == 1).sum()), 0.5) / seen)
    chances = np.append(counts / seen * (1 - new), new)

    def draw(number: int) -> Floats:
        reference, current = (
            rng.multinomial(before, chances, number) / before,
            rng.multinomial(rows, chances, number) / rows,
        )
        nothing = np.zeros((number, 1))
        return measure_jensenshannon(
            np.hstack([reference, nothing]), np.hstack([current[:, :-1], nothing, current[:, -1:]])
        )

    # At once, as long as that is no matter of memory.
    step = max(_MOST_NUMBERS // len(chances), 1)
    return np.concatenate(
        [draw(min(step, resamples - start)) for start in range(0, resamples, step)]
    )


def calibrate_limit(noise: Floats, false_alarm_rate: float, min_distance: float) -> float:
    """The distance that undrifted windows pass at `false_alarm_rate`, at least `min_distance`."""
    squares = np.square(noise)
    mean, variance = float(squares.mean()), float(squares.var(ddof=1))
    limit = max(min_distance, float(noise.max()))
    if variance > 1e-12 * mean**2:
        kurtosis = float(np.mean((squares - mean) ** 4)) / variance**2
        variance *= 1 + 2 * np.sqrt(max(kurtosis - 1, 0.0) / len(squares))
        quantile = gamma.isf(false_alarm_rate, mean**2 / variance, scale=variance / mean)
        limit = max(limit, float(np.sqrt(quantile)))
    return limit
