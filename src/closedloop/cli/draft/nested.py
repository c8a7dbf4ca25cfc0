"""Columns whose values are no single values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

_LISTS = (list, tuple, set, frozenset, np.ndarray)
_BYTES = (bytes, bytearray, memoryview)
_LOOKED_AT = 1_000


def describe_nested(column: pd.Series[Any]) -> str:
    """Why a column of lists, structs, maps or bytes is left out; empty for single values."""
    if not pd.api.types.is_object_dtype(column):
        return ""
    for value in column.dropna().head(_LOOKED_AT):
        if isinstance(value, Mapping):
            return "objects with fields: take the fields apart"
        if isinstance(value, _LISTS):
            return "lists: derive a number from them, such as their length"
        if isinstance(value, _BYTES):
            return "bytes, not text"
    return ""
