"""How sure a value is, given how far each row moves it, where rows may belong together.

The variance of a value is sum(psi^2) / n^2, psi being what a row moves it by (`metrics.auc`). That
holds for independent rows. Rows of one customer move it together: their psi are summed before they
are squared, so that only groups need to be independent. For the AUC that is the variance of
Obuchowski (1997, Biometrics 53:567), and for any mean over rows that of Liang and Zeger (1986,
Biometrika 73:13).

Few groups, or unequal ones, tell little about their own spread, so the interval takes its reach
from Student's t. Its degrees of freedom are the effective number of groups (Kish 1965; for such
tests Carter, Schnepel and Steigerwald 2017, Review of Economics and Statistics 99:698) in the class
that has fewest: the square of its rows over the sum of the squares of each group's rows. What that
is worth is measured in docs/decisions.md. Where no group has two rows, nothing of this applies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.decisions.evidence import Estimate
from closedloop.windows.groups import Groups


def count_rarest(
    labels: NDArray[np.integer[Any]], classes: int, groups: Groups | None = None
) -> int:
    """Rows of the rarest class, 0 for an absent one; with groups, the groups that have such a row.

    Of several classes with groups, the one that fewest groups have.
    """
    if groups is None:
        return int(np.bincount(labels, minlength=classes).min())
    return min(len(np.unique(groups[labels == number])) for number in range(classes))


def interval_of(
    value: float,
    psi: NDArray[np.float64],
    confidence: float,
    labels: NDArray[np.integer[Any]],
    groups: Groups | None = None,
) -> Estimate:
    """A value whose rows move it by psi, with its interval; every class needs a row."""
    from scipy.stats import norm, t

    level, in_groups = 0.5 + confidence / 2, None
    times = norm.ppf(level)
    if groups is not None:
        by_class = [groups[labels == number] for number in np.unique(labels)]
        in_groups = min(len(np.unique(part)) for part in by_class)
        if _repeat(groups):
            times = t.ppf(level, min(_count_effective(part) for part in by_class))
    reach = float(times) * standard_error(psi, groups)
    return Estimate(value, value - reach, value + reach, len(psi), in_groups)


def standard_error(psi: NDArray[np.float64], groups: Groups | None = None) -> float:
    """Standard error of a value whose rows move it by psi."""
    moved = psi if groups is None or not _repeat(groups) else np.bincount(groups, weights=psi)
    return float(np.sqrt(np.square(moved).sum()) / len(psi))


def _repeat(groups: Groups) -> bool:
    """Whether any group has two rows."""
    return bool(np.bincount(groups).max(initial=0) > 1)


def _count_effective(groups: Groups) -> float:
    """How many groups of one size would tell as much as these: all, if they are of one size."""
    counts = np.bincount(groups).astype(np.float64)
    return float(counts.sum() ** 2 / np.square(counts).sum())
