"""Checked rows -> the two arrays that a model takes, and the values that lie outside the contract.

This is `schema.prepare` for values that the API has checked already, without a frame: `tests/api/test_packing.py` holds both together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.decoding import Rows
from closedloop.schema import MISSING, read_category
from closedloop.use_case import UseCase

_SPELLINGS_KEPT, _LONGEST_KEPT = 1_000, 100  # of each column


@dataclass(frozen=True, slots=True)
class Packed:
    """`numbers`: float64, shape (n, f), NaN for null. `texts`: str in an object array, shape (n, c), MISSING for null. Columns in the
    order of the use case."""

    numbers: NDArray[np.float64]
    texts: NDArray[Any]


class Packer:
    """Packs the rows of one use case."""

    def __init__(self, use_case: UseCase) -> None:
        self._columns = use_case.columns
        self._numeric, self._categorical = use_case.numeric, use_case.categorical
        columns = [use_case.columns[name] for name in use_case.numeric]
        self._low = np.array([-np.inf if column.minimum is None else column.minimum for column in columns], dtype=np.float64)
        self._high = np.array([np.inf if column.maximum is None else column.maximum for column in columns], dtype=np.float64)
        self._bounded = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())
        self._spell = [_remembering(use_case.columns[name].allowed) for name in use_case.categorical]
        listed = [use_case.columns[name].allowed for name in use_case.categorical]
        self._known = [frozenset((*allowed, MISSING)) if allowed else None for allowed in listed]

    def pack(self, rows: Rows) -> Packed:
        numbers = np.array(rows.numbers, dtype=np.float64).reshape(len(rows), len(self._numeric))
        texts = np.empty((len(rows), len(self._categorical)), dtype=object)
        for number, row in enumerate(rows.texts):
            texts[number] = [spell(value) for spell, value in zip(self._spell, row, strict=True)]
        return Packed(numbers, texts)

    def find_warnings(self, packed: Packed) -> dict[int, list[str]]:
        """Row number -> the values of that row outside the contract's range or categories, in the order of columns; null is inside."""
        strange: set[int] = set()
        if self._bounded:
            outside = (packed.numbers < self._low) | (packed.numbers > self._high)
            if outside.any():
                strange.update(np.flatnonzero(outside.any(axis=1)).tolist())
        for place, known in enumerate(self._known):
            if known is not None:
                strange.update(number for number, value in enumerate(packed.texts[:, place]) if value not in known)
        return {number: self._describe(packed, number) for number in sorted(strange)}

    def _describe(self, packed: Packed, number: int) -> list[str]:
        values = dict(zip(self._numeric, packed.numbers[number].tolist(), strict=True))
        values.update(zip(self._categorical, packed.texts[number], strict=True))
        found = []
        for name, column in self._columns.items():
            value = values[name]
            if column.minimum is not None and value < column.minimum:
                found.append(f"{name} {value:g} is below its minimum {column.minimum:g}")
            if column.maximum is not None and value > column.maximum:
                found.append(f"{name} {value:g} is above its maximum {column.maximum:g}")
            if column.allowed and value not in (*column.allowed, MISSING):
                found.append(f"{name} {value[:80]!r} is none of {', '.join(column.allowed)}")
        return found


def _remembering(allowed: tuple[str, ...]) -> Callable[[str | None], str]:
    """`read_category` that keeps what it found for the commonest values, in bounded memory."""
    read = read_category(allowed)
    kept: dict[str | None, str] = {}

    def spell(value: str | None) -> str:
        found = kept.get(value)
        if found is None:
            found = read(value)
            if len(kept) < _SPELLINGS_KEPT and (value is None or len(value) <= _LONGEST_KEPT):
                kept[value] = found
        return found

    return spell
