"""How the values of each watched column are distributed, in the reference and in a window.

Counts, not rows: they are kept with the evidence of a turn, so that people can see years later in
what a column differed. Their size is bounded, whatever the table looks like.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from closedloop.json_text import read_json

DISTRIBUTIONS_FILE = "distributions.json"
MOST_BINS, MOST_CATEGORIES, MOST_COLUMNS = 30, 20, 500
_MOST_NEW, _LONGEST_NAME = 10, 200
# Outside of these quantiles of the reference, values share the first and the last bin.
_TAILS = (0.005, 0.995)


@dataclass(frozen=True)
class Side:
    """One of the two sides: its rows, those without a value, and counts by bin or category."""

    rows: int
    missing: int
    counts: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Counts as shares of the rows that have a value; zeros without one."""
        known = max(self.rows - self.missing, 1)
        return tuple(count / known for count in self.counts)

    @property
    def missing_share(self) -> float | None:
        """Share of rows without a value, 0 to 1; None without rows."""
        return self.missing / self.rows if self.rows else None


@dataclass(frozen=True)
class Distribution:
    """One column in both sides.

    A number has `edges`: the first count is of values below the first edge, the last of those from
    the last edge on. A category has `categories`: one count each, and a last one for all others.
    `new_rows` of the window hold a category that the reference does not have; `new_categories` are
    the most frequent of them.
    """

    column: str
    reference: Side
    current: Side
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    new_rows: int = 0
    new_categories: tuple[str, ...] = ()

    @property
    def new_share(self) -> float | None:
        """Share of the window's rows with a category that is new, 0 to 1; None without rows."""
        return self.new_rows / self.current.rows if self.current.rows else None


@dataclass(frozen=True)
class Distributions:
    """The columns of one comparison; `left_out` counts those for which there was no room."""

    reference: str
    current: str
    columns: tuple[Distribution, ...]
    left_out: int = 0


def summarise(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Sequence[str],
    numeric: Iterable[str],
    names: tuple[str, str],
) -> Distributions:
    """The distributions of the first `MOST_COLUMNS` of `columns`; `names` are those of the sides.

    Columns that a side does not have are left out.
    """
    numbers = set(numeric)
    known = [name for name in columns if name in reference and name in current]
    found = [
        (_summarise_numbers if name in numbers else _summarise_categories)(
            name, reference[name], current[name]
        )
        for name in known[:MOST_COLUMNS]
    ]
    return Distributions(*names, tuple(found), len(known) - len(found))


def write_distributions(found: Distributions) -> str:
    """The text of `DISTRIBUTIONS_FILE`."""
    return json.dumps(asdict(found), separators=(",", ":"))


def read_distributions(text: str) -> Distributions:
    """The distributions from their text; raises ValueError for anything else."""
    return TypeAdapter(Distributions).validate_python(read_json(text))


def _summarise_numbers(name: str, before: pd.Series[Any], now: pd.Series[Any]) -> Distribution:
    known = [_numbers(side) for side in (before, now)]
    edges = _choose_edges(known[0] if len(known[0]) else known[1])
    sides = [
        Side(len(side), len(side) - len(values), _count_bins(values, edges))
        for side, values in zip((before, now), known, strict=True)
    ]
    return Distribution(name, sides[0], sides[1], tuple(edges.tolist()))


def _numbers(side: pd.Series[Any]) -> np.ndarray:
    values: np.ndarray = pd.to_numeric(side, errors="coerce").to_numpy(float, na_value=np.nan)
    known: np.ndarray = values[np.isfinite(values)]
    return known


def _choose_edges(values: np.ndarray) -> np.ndarray:
    """Edges of bins of one width; between them where there are few different values."""
    different = np.unique(values)
    if not len(different):
        return np.empty(0)
    if len(different) <= MOST_BINS - 2:
        between = different[:-1] / 2 + different[1:] / 2
        ends = (different[0] - 0.5, different[-1] + 0.5)
        return np.unique([ends[0], *between, ends[1]])
    low, high = np.quantile(values, _TAILS)
    if not high > low:
        low, high = different[0], different[-1]
    width = high / (MOST_BINS - 2) - low / (MOST_BINS - 2)
    edges = low + width * np.arange(MOST_BINS - 1)
    return np.unique(edges[np.isfinite(edges)])


def _count_bins(values: np.ndarray, edges: np.ndarray) -> tuple[int, ...]:
    if not len(edges):
        return ()
    places = np.searchsorted(edges, values, side="right")
    return tuple(np.bincount(places, minlength=len(edges) + 1).tolist())


def _summarise_categories(name: str, before: pd.Series[Any], now: pd.Series[Any]) -> Distribution:
    known = [_count_values(side) for side in (before, now)]
    shares = [counts / max(int(counts.sum()), 1) for counts in known]
    both = shares[0].add(shares[1], fill_value=0.0).sort_index()
    shown = both.sort_values(ascending=False, kind="stable").index[:MOST_CATEGORIES]
    sides = [
        _count_categories(side, counts, shown)
        for side, counts in zip((before, now), known, strict=True)
    ]
    new = known[1].drop(index=known[0].index, errors="ignore")
    return Distribution(
        name,
        sides[0],
        sides[1],
        categories=tuple(map(_cut, shown)),
        new_rows=int(new.sum()),
        new_categories=tuple(map(_cut, new.index[:_MOST_NEW])),
    )


def _count_values(side: pd.Series[Any]) -> pd.Series[Any]:
    """Rows by value, as text, the most frequent first."""
    counts = side.value_counts()
    counts.index = counts.index.map(str)
    if counts.index.is_unique:
        return counts
    return counts.groupby(level=0, sort=False).sum().sort_values(ascending=False, kind="stable")


def _count_categories(side: pd.Series[Any], counts: pd.Series[Any], shown: pd.Index) -> Side:
    by_name = [int(count) for count in counts.reindex(shown, fill_value=0)]
    known = int(counts.sum())
    return Side(len(side), len(side) - known, (*by_name, known - sum(by_name)))


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
