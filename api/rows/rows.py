"""The checked rows of a request, by row or by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDES = ("numbers", "texts", "keys")


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts: some `values`, each of its texts among them, and the place of each row's.

    `places` has shape (n,).
    """

    values: Sequence[str | None]
    places: NDArray[np.int64]

    def take(self, values: Sequence[Any]) -> NDArray[Any]:
        """What `values` has in the place of each row's text, as an array of objects (n,)."""
        known = np.empty(len(values), dtype=object)
        known[:] = values
        return known[self.places]

    def count(self) -> list[int]:
        """How many rows have each of the values."""
        return list(map(int, np.bincount(self.places, minlength=len(self.values))))


class Rows:
    """Numbers, texts and keys of the rows of a request, in the order of the use case.

    None stands for null. Rows are held as they came, by row or by column, and transposed on demand.
    `array` holds their numbers, shape (n, f), NaN for null, when they came as one, and `coded`
    their texts, by column, when they came so.
    """

    __slots__ = ("_number_columns", "_numbers", "_text_columns", "_texts", "array", "coded", "keys")

    def __init__(
        self,
        numbers: Sequence[Sequence[float | None]],
        texts: Sequence[Sequence[str | None]],
        keys: Sequence[str | None],
    ) -> None:
        self.keys = keys
        self.array: NDArray[np.float64] | None = None
        self.coded: Sequence[Coded] = ()
        self._numbers: Sequence[Sequence[float | None]] | None = numbers
        self._texts: Sequence[Sequence[str | None]] | None = texts
        self._number_columns: Sequence[Sequence[float | None]] = ()
        self._text_columns: Sequence[Sequence[str | None]] = ()

    @classmethod
    def of_columns(
        cls,
        numbers: Sequence[Sequence[float | None]],
        texts: Sequence[Sequence[str | None]],
        keys: Sequence[str | None],
    ) -> Rows:
        """Rows from columns, each with a value for every row."""
        made = cls((), (), keys)
        made._numbers = made._texts = None
        made._number_columns, made._text_columns = numbers, texts
        return made

    @classmethod
    def of_array(
        cls,
        array: NDArray[np.float64],
        coded: Sequence[Coded],
        keys: Sequence[str | None],
    ) -> Rows:
        """Rows from an array of numbers and columns of texts."""
        made = cls.of_columns((), (), keys)
        made.array, made.coded = array, coded
        return made

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        numbers, texts, keys = (
            [*chain.from_iterable(of)]
            for of in ([getattr(part, name) for part in parts] for name in _SIDES)
        )
        return cls(numbers, texts, keys)

    @property
    def numbers(self) -> Sequence[Sequence[float | None]]:
        if self._numbers is None:
            self._numbers = _transpose(self.number_columns, len(self.keys))
        return self._numbers

    @property
    def texts(self) -> Sequence[Sequence[str | None]]:
        if self._texts is None:
            self._texts = _transpose(self.text_columns, len(self.keys))
        return self._texts

    @property
    def number_columns(self) -> Sequence[Sequence[float | None]]:
        """By column; empty when there is no such column."""
        if self.array is not None and not self._number_columns:
            self._number_columns = [
                [None if value != value else value for value in column]
                for column in self.array.T.tolist()
            ]
        if self._numbers and not self._number_columns:
            self._number_columns = tuple(zip(*self._numbers, strict=True))
        return self._number_columns

    @property
    def text_columns(self) -> Sequence[Sequence[str | None]]:
        """By column; empty when there is no such column."""
        if self.coded and not self._text_columns:
            self._text_columns = [column.take(column.values).tolist() for column in self.coded]
        if self._texts and not self._text_columns:
            self._text_columns = tuple(zip(*self._texts, strict=True))
        return self._text_columns

    def __len__(self) -> int:
        return len(self.keys)


def _transpose(columns: Sequence[Sequence[Any]], rows: int) -> Sequence[Sequence[Any]]:
    return list(zip(*columns, strict=True)) if columns else [()] * rows
