"""Checked rows -> the two arrays that a model takes, and warnings for values outside the contract.

It is `windows.contract_check.prepare` without a frame, for values that the API has checked:
`tests/api/test_row_decoding.py` proves that both give the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.rows.rows import Rows
from closedloop.use_case.contract import MISSING, UseCase
from closedloop.windows.spelling import read_category

_SPELLINGS_KEPT, _LONGEST_KEPT = 1_000, 100  # of each column
MANY = 16  # rows; from here NumPy saves more than it costs


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows as a model takes them, columns in the order of the use case.

    `numbers`: float64, shape (n, f), NaN for null. `texts`: str in an object array, shape (n, c),
    MISSING for null. `kinds`: the distinct texts of each column, where they are known.
    """

    numbers: NDArray[np.float64]
    texts: NDArray[Any]
    kinds: Sequence[Collection[str]] = ()


class Packer:
    """Packs the rows of one use case."""

    def __init__(self, use_case: UseCase) -> None:
        self._columns = use_case.columns
        self._numeric, self._categorical = use_case.numeric, use_case.categorical
        self._spell = [
            _remembering(use_case.columns[name].allowed) for name in use_case.categorical
        ]
        numeric, categorical = (
            [use_case.columns[name] for name in names]
            for names in (use_case.numeric, use_case.categorical)
        )
        self._bounds = [
            (
                place,
                -math.inf if column.minimum is None else column.minimum,
                math.inf if column.maximum is None else column.maximum,
            )
            for place, column in enumerate(numeric)
            if column.minimum is not None or column.maximum is not None
        ]
        self._listed = [
            (place, frozenset((*column.allowed, MISSING)))
            for place, column in enumerate(categorical)
            if column.allowed
        ]

    def pack(self, rows: Rows) -> Packed:
        texts = np.empty((len(rows), len(self._categorical)), dtype=object)
        if len(rows) < MANY:
            for number, row in enumerate(rows.texts):
                texts[number] = [
                    spell(value) for spell, value in zip(self._spell, row, strict=True)
                ]
            return Packed(
                np.array(rows.numbers, dtype=np.float64).reshape(len(rows), len(self._numeric)),
                texts,
            )
        kinds: list[Collection[str]] = []
        if rows.coded:
            for place, (spell, coded) in enumerate(zip(self._spell, rows.coded, strict=True)):
                spellings = [spell(value) for value in coded.values]
                texts[:, place] = coded.take(spellings)
                kinds.append(spellings)
            return Packed(self._pack_numbers(rows), texts, kinds)
        for place, (spell, column) in enumerate(zip(self._spell, rows.text_columns, strict=True)):
            spelled = {value: spell(value) for value in set(column)}
            # Most columns are already spelled as in the contract.
            texts[:, place] = (
                column
                if all(map(eq, spelled, spelled.values()))
                else [spelled[value] for value in column]
            )
            kinds.append(spelled.values())
        return Packed(self._pack_numbers(rows), texts, kinds)

    def _pack_numbers(self, rows: Rows) -> NDArray[np.float64]:
        if rows.array is not None:
            return rows.array
        numbers = np.empty((len(rows), len(self._numeric)))
        # struct takes a third of the time that NumPy needs to convert each value.
        write = struct.Struct(f"{len(rows)}d").pack
        for place, column in enumerate(rows.number_columns):
            try:
                numbers[:, place] = np.frombuffer(write(*column))
            except struct.error:  # the column has nulls
                numbers[:, place] = np.array(column, dtype=np.float64)
        return numbers

    def find_warnings(self, rows: Rows, packed: Packed) -> dict[int, list[str]]:
        """Row number -> a sentence for each value outside the contract, in the order of columns.

        Null is inside.
        """
        if len(rows) < MANY:
            numbered = enumerate(zip(rows.numbers, packed.texts.tolist(), strict=True))
            return {
                row: self._describe(*values)
                for row, values in numbered
                if self._is_outside(*values)
            }
        outside = self._find_outside(packed)
        return {
            row: self._describe(rows.numbers[row], packed.texts[row].tolist())
            for row in sorted(outside)
        }

    def _is_outside(self, numbers: Sequence[float | None], texts: Sequence[str]) -> bool:
        for place, low, high in self._bounds:
            number = numbers[place]
            if number is not None and not low <= number <= high:
                return True
        return any(texts[place] not in known for place, known in self._listed)

    def _find_outside(self, packed: Packed) -> set[int]:
        """The rows for which `_is_outside` holds."""
        found: set[int] = set()
        if self._bounds:
            places, lows, highs = zip(*self._bounds, strict=True)
            bounded = (
                packed.numbers if len(places) == len(self._numeric) else packed.numbers[:, places]
            )
            outside = (bounded < np.array(lows)) | (bounded > np.array(highs))  # never for NaN
            found.update(np.flatnonzero(outside.any(axis=1)).tolist())
        for place, known in self._listed:
            if not known.issuperset(packed.kinds[place]):
                found.update(
                    row
                    for row, text in enumerate(packed.texts[:, place].tolist())
                    if text not in known
                )
        return found

    def _describe(self, numbers: Sequence[float | None], texts: Sequence[str]) -> list[str]:
        found = []
        measured = dict(zip(self._numeric, numbers, strict=True))
        named = dict(zip(self._categorical, texts, strict=True))
        for name, column in self._columns.items():
            number = measured.get(name)
            if number is not None and column.minimum is not None and number < column.minimum:
                found.append(f"{name} {number:g} is below its minimum {column.minimum:g}")
            if number is not None and column.maximum is not None and number > column.maximum:
                found.append(f"{name} {number:g} is above its maximum {column.maximum:g}")
            if column.allowed and named[name] not in (*column.allowed, MISSING):
                found.append(
                    f"{name} {named[name][:80]!r} is not one of {', '.join(column.allowed)}"
                )
        return found


def _remembering(allowed: tuple[str, ...]) -> Callable[[str | None], str]:
    """`read_category` with a bounded memory of values that were spelled before."""
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
