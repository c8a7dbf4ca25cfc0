"""An answered request, the unit that is recorded, and the ids of its predictions."""

from __future__ import annotations

import base64
import os
import struct
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

# JSON of plain values and NumPy's numbers.
to_json = msgspec.json.Encoder(enc_hook=lambda value: value.item()).encode
from_json = msgspec.json.Decoder().decode


class AnsweredRequest(msgspec.Struct, frozen=True, gc=False):
    """One request of `rows` rows, answered by one version; `at` defaults to the time of recording.

    `features` and `probabilities` are JSON objects: column or class -> its values in all rows, as
    they were sent: a list, or numbers as `read_column` takes them. `keys` has one per row, or is
    empty.
    """

    request: str
    use_case: str
    version: int
    rows: int
    features: bytes
    probabilities: bytes
    keys: Sequence[str | None] = ()
    at: datetime | None = None

    @property
    def ids(self) -> list[str]:
        """The ids of its predictions, in the order of its rows."""
        return [name_prediction(self.request, row) for row in range(self.rows)]


def read_column(written: list[Any] | str | None, rows: int) -> list[Any]:
    """The values of one column, written as a list or as base64 of little-endian float64.

    In base64, NaN is null. A column that was not written (None) is all null.
    """
    if written is None:
        return [None] * rows
    if isinstance(written, list):
        return written
    numbers = struct.unpack(f"<{rows}d", base64.b64decode(written))
    return [None if number != number else number for number in numbers]


def read_forgotten(written: str | None) -> frozenset[int]:
    """The numbers of a request's rows that were erased."""
    return frozenset(from_json(written)) if written else frozenset()


def make_request_id() -> str:
    """A new, unique id, which begins with the time: large indexes then grow at their end only."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def name_prediction(request: str, row: int) -> str:
    """The id of one row's prediction; the ids of a request sort like its rows."""
    return f"{request}-{row:06d}"


def split_prediction_id(id: str) -> tuple[str, int] | None:
    """Request and row number of a prediction id; None for anything else."""
    request, dash, row = id.rpartition("-")
    if not (dash and row.isascii() and row.isdigit() and len(row) <= 18):
        return None
    # A row has a single id: 1-7 is not another spelling of 1-000007.
    return (request, int(row)) if name_prediction(request, int(row)) == id else None
