"""The usual bodies of MLflow's clients -> checked rows, fast, as `decode.py` does for /predict.

What is not exactly a table of the model's columns goes to `protocols/mlflow_bodies.py` and the
careful reader, which accept more and name faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from api.rows.decode import KEY, NUMBER, TEXT, NotTaken, RowReader, take_columns
from api.rows.rows import Rows
from closedloop.use_case.contract import UseCase

_ORDERS_KEPT = 100  # orders of columns; each client uses the same one always


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    data: msgspec.Raw
    index: msgspec.Raw | None = None


class _SplitBody(msgspec.Struct, forbid_unknown_fields=True):
    dataframe_split: _Split


_read_split = msgspec.json.Decoder(_SplitBody).decode


class TableDecoder:
    """Reads `dataframe_split`, `dataframe_records` and `instances` for one model."""

    def __init__(self, use_case: UseCase, reader: RowReader) -> None:
        self._use_case = use_case
        self._names = (*use_case.numeric, *use_case.categorical)
        self._records = {
            form: reader.compile_under(form) for form in ("dataframe_records", "instances")
        }
        self._orders: dict[tuple[str, ...], Callable[[bytes], Sequence[Sequence[Any]]]] = {}

    def read(self, body: bytes, max_rows: int) -> Rows | None:
        """The rows; None for what only the careful reader can judge."""
        try:
            if b'"dataframe_split"' in body[:64]:
                return self._take_split(_read_split(body).dataframe_split, max_rows)
            for form, decode in self._records.items():
                if form.encode() in body[:64]:
                    return decode(body, max_rows)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotTaken):
            pass
        return None

    def _take_split(self, split: _Split, max_rows: int) -> Rows | None:
        order, key = tuple(split.columns), self._use_case.key
        decode = self._orders.get(order)
        if decode is None:
            # Every column must be there once; the key may be left out.
            if split.index is not None or sorted(order) not in (
                sorted(self._names),
                sorted((*self._names, *filter(None, [key]))),
            ):
                return None
            decode = self._compile(order)
            if len(self._orders) < _ORDERS_KEPT:
                self._orders[order] = decode
        rows = decode(split.data)
        if split.index is not None or not 0 < len(rows) <= max_rows:
            return None
        columns = dict(zip(order, zip(*rows, strict=True), strict=True))
        keys = columns.get(key) if key is not None else None
        return take_columns(
            [columns[name] for name in self._use_case.numeric],
            [columns[name] for name in self._use_case.categorical],
            [None] * len(rows) if keys is None else keys,
        )

    def _compile(self, order: Sequence[str]) -> Callable[[bytes], Sequence[Sequence[Any]]]:
        kinds = dict.fromkeys(self._use_case.numeric, NUMBER) | dict.fromkeys(
            self._use_case.categorical, TEXT
        )
        row: Any = tuple.__class_getitem__(tuple(kinds.get(name, KEY) for name in order))
        return msgspec.json.Decoder(list[row]).decode
