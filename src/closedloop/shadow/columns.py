"""The features of a recorded request as the arrays that a version takes.

Columns are taken by name: those that the version has and the request has not are null.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.records.request import from_json, read_column
from closedloop.use_case.contract import UseCase
from closedloop.windows.spelling import read_category
from closedloop.windows.written_numbers import read_number


def read_features(features: bytes, rows: int, names: tuple[str, ...]) -> dict[str, list[Any]]:
    """The values of these columns, null where the request has none."""
    written = from_json(features)
    return {name: read_column(written.get(name), rows) for name in names}


def read_probabilities(written: bytes, classes: tuple[str, ...], rows: int) -> NDArray[np.float64]:
    """Recorded probabilities as shape (n, k), in the order of these classes.

    Raises ValueError when they are those of other classes, or of another number of rows.
    """
    found = from_json(written)
    if not isinstance(found, dict) or set(found) != set(classes):
        raise ValueError("answers of other classes")
    answers = np.array([found[name] for name in classes], dtype=np.float64).T
    if answers.shape != (rows, len(classes)):
        raise ValueError(f"answers of shape {answers.shape} to {rows} rows")
    return answers


class RequestPacker:
    """Packs recorded requests as the API packs those that come: spelled as in the contract."""

    def __init__(self, use_case: UseCase) -> None:
        self._numeric, self._categorical = use_case.numeric, use_case.categorical
        self._spell = [read_category(use_case.columns[name].allowed) for name in self._categorical]

    def pack(
        self, columns: dict[str, list[Any]], rows: int
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """`numbers` (n, f) and `texts` (n, c), as a scorer takes them."""
        numbers = np.empty((rows, len(self._numeric)), dtype=np.float64)
        for place, name in enumerate(self._numeric):
            numbers[:, place] = [_number(value) for value in columns[name]]
        texts = np.empty((rows, len(self._categorical)), dtype=object)
        for place, (name, spell) in enumerate(zip(self._categorical, self._spell, strict=True)):
            texts[:, place] = [spell(value) for value in columns[name]]
        return numbers, texts


def _number(value: Any) -> float:
    if type(value) is float:
        return value if math.isfinite(value) else math.nan
    return read_number(value)
