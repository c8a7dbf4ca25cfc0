"""Rows that an earlier window holds already: the same key, or without a key the same content.

A model that was trained on a row remembers its label, so such a row cannot judge the model. Which
rows count, and why, is in `docs/design/36-rows-that-windows-share.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.use_case.contract import UseCase

# A row that came back is the same row while at least this share of its features is unchanged.
_UNCHANGED = 0.5
# How much of the new labels the old ones must tell, as Youden's J: 0 nothing, 1 everything.
_LABELS_TOLD = 0.5
# Without keys, rows are equal by chance, too: more than this many times what chance explains.
_BEYOND_CHANCE, _FEWEST = 3.0, 10


@dataclass(frozen=True)
class RowMarks:
    """What tells the labelled rows of a window from others, without the rows themselves.

    `rows` are hashes of the key, or of all features if there is none, shape (n,); `features` one
    byte a feature, shape (n, features); `labels` the numbers of the classes.
    """

    rows: NDArray[np.uint64]
    features: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    by_key: bool


def mark_rows(
    prepared: pd.DataFrame, labels: NDArray[np.integer[Any]], use_case: UseCase
) -> RowMarks:
    """The marks of prepared rows."""
    names = list(use_case.columns)
    features = [_hash_values(prepared[name]).astype(np.uint8) for name in names]
    by_key = use_case.key is not None and use_case.key in prepared
    rows = hash_rows(prepared[[use_case.key] if by_key else names])
    return RowMarks(rows, np.stack(features, axis=1), labels, by_key)


def hash_rows(prepared: pd.DataFrame) -> NDArray[np.uint64]:
    """A hash of each row, the same in every window and process, shape (n,)."""
    whole = np.zeros(len(prepared), dtype=np.uint64)
    for name in prepared:
        whole = whole * np.uint64(1_000_003) ^ _hash_values(prepared[name])
    return whole


def _hash_values(values: pd.Series[Any]) -> NDArray[np.uint64]:
    """A hash of each value, shape (n,)."""
    plain = values.to_numpy()
    if plain.dtype != object:
        plain = plain.astype(np.float64) + 0.0  # both zeros are equal
        plain[np.isnan(plain)] = np.nan
    return np.asarray(pd.util.hash_array(plain, categorize=True), dtype=np.uint64)


def find_repeated(window: RowMarks, earlier: RowMarks) -> NDArray[np.bool_]:
    """Which rows of `window` the `earlier` window holds already, shape (n,).

    None are, when the labels of the rows that came back are labels of their own: then keys name
    what is scored again and again, and not rows.
    """
    none = np.zeros(len(window.rows), dtype=np.bool_)
    if window.by_key != earlier.by_key or not len(window.rows) or not len(earlier.rows):
        return none
    places = _find_places(window.rows, earlier.rows)
    back = places >= 0
    if window.by_key:
        same = window.features[back] == earlier.features[places[back]]
        back[back] = same.mean(axis=1) >= _UNCHANGED
    else:
        back = back & _seldom(window.rows) & _seldom(earlier.rows)[places]
        if back.sum() <= max(_FEWEST, _BEYOND_CHANCE * _expect_by_chance(window, earlier)):
            return none
    told = _labels_are_told(window.labels[back], earlier.labels[places[back]])
    return np.asarray(back if told else none)


def _find_places(rows: NDArray[np.uint64], among: NDArray[np.uint64]) -> NDArray[np.intp]:
    """The place of each row among others, the last one of equals; -1 where it is not there."""
    order = np.argsort(among, kind="stable")
    found = np.searchsorted(among[order], rows, side="right") - 1
    places = order[np.maximum(found, 0)]
    return np.where((found >= 0) & (among[places] == rows), places, -1)


def _count(rows: NDArray[np.uint64]) -> NDArray[np.intp]:
    """How many rows of the window are like each row, shape (n,)."""
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse])


def _seldom(rows: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Rows unlike any other of their window: only those are remembered one by one."""
    return np.asarray(_count(rows) == 1)


def _expect_by_chance(window: RowMarks, earlier: RowMarks) -> float:
    """How many contents would be in both windows once, had the rows nothing to do with each other.

    A content that occurs twice in all falls into one window each in 2pq of the cases, and twice
    into the same in p^2 + q^2; those are counted.
    """
    twice = sum(
        int((_count(ours)[_find_places(ours, theirs) < 0] == 2).sum()) / 2
        for ours, theirs in ((window.rows, earlier.rows), (earlier.rows, window.rows))
    )
    share = len(window.rows) / (len(window.rows) + len(earlier.rows))
    across = 2 * share * (1 - share)
    return twice * across / (1 - across)


def _labels_are_told(now: NDArray[np.integer[Any]], before: NDArray[np.integer[Any]]) -> bool:
    """Whether the old labels tell most of the new ones.

    Youden's J (1950, Cancer 3:32), for more classes informedness: the share of right labels,
    averaged over the classes, on a scale from chance to all.
    """
    classes = np.unique(now)
    if not len(classes):
        return True
    right = float(np.mean([(before[now == label] == label).mean() for label in classes]))
    chance = 1 / max(len(classes), 2)
    return (right - chance) / (1 - chance) > _LABELS_TOLD
