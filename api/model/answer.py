"""One version, loaded, and what it says of the rows of one request, as whole columns.

The answer's JSON is put together from pieces that are written once for each model: what changes
from row to row is a number of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np

from api.rows.decode import RowReader
from api.rows.decode_tables import TableReader
from api.rows.pack import MANY, Packed, Packer
from api.rows.rows import Rows
from api.schemas import RowType
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import ModelError
from closedloop.records.request import AnsweredRequest, make_request_id, to_json


class AnswerFormat:
    """The pieces of one model's answers and records."""

    def __init__(
        self, name: str, version: int, features: Sequence[str], classes: Sequence[str]
    ) -> None:
        named = [to_json(one) + b":" for one in classes]
        self.head = (
            b'{"model":'
            + to_json(name)
            + b',"version":'
            + str(version).encode()
            + b',"predictions":['
        )
        # From the id of a row to its first probability, for each class that may be the prediction.
        self.predicted = [
            b'","prediction":' + to_json(one) + b',"probabilities":{' + named[0] for one in classes
        ]
        self.between = [b"," + one for one in named[1:]]
        self.features, self.classes = features, named
        self._numbers: list[bytes] = []

    def number_rows(self, rows: int) -> list[bytes]:
        """What stands behind the request in the ids of its rows."""
        if len(self._numbers) < rows:
            self._numbers = [b"-%06d" % row for row in range(rows)]
        return self._numbers[:rows]


class LoadedModel:
    """One version, ready to answer. Never changed: a request that holds it is answered by it
    alone."""

    def __init__(self, version: int, loaded: LoadedVersion, loaded_at: datetime) -> None:
        self.version, self.loaded, self.loaded_at = version, loaded, loaded_at
        self.scorer, self.facts, self.use_case = loaded.scorer, loaded.facts, loaded.use_case
        self.row_type = RowType(self.use_case)
        self.reader = RowReader(self.use_case, self.row_type)
        self.table_reader = TableReader(self.use_case, self.reader)
        self._packer = Packer(self.use_case)
        self.format = AnswerFormat(
            self.facts.name,
            version,
            (*self.use_case.numeric, *self.use_case.categorical),
            self.facts.classes,
        )

    def answer(self, rows: Rows) -> Answered:
        """One answer for each row, in their order; all rows are one call of the model."""
        classes = self.facts.classes
        packed = self._packer.pack(rows)
        probabilities = self.scorer.probabilities(packed.numbers, packed.texts)
        shares: list[list[float]] = probabilities.T.tolist()
        if probabilities.shape != (len(rows), len(classes)) or not isfinite(sum(map(sum, shares))):
            raise ModelError(
                where=f"version {self.version}",
                wanted=f"{len(classes)} finite probabilities for each row",
                got=f"shape {probabilities.shape} or values not finite",
                then="go back with: closedloop rollback",
            )
        return Answered(
            self,
            rows,
            packed,
            shares,
            probabilities.argmax(axis=1).tolist(),
            self._packer.find_warnings(rows, packed),
        )


class Answered:
    """Rows with the answers of the one model that answered all of them.

    `shares` are the probabilities by class, `best` the number of the likeliest class of each row,
    `warnings` those of the rows that have any.
    """

    def __init__(
        self,
        model: LoadedModel,
        rows: Rows,
        packed: Packed,
        shares: Sequence[Sequence[float]],
        best: Sequence[int],
        warnings: Mapping[int, Sequence[str]],
    ) -> None:
        self.model, self.rows, self.shares, self.best, self.warnings = (
            model,
            rows,
            shares,
            best,
            warnings,
        )
        self.packed = packed
        self.request = make_request_id()
        self._written = [to_json(column) for column in shares]

    @cached_property
    def ids(self) -> list[str]:
        """One for each row, in their order."""
        return self.record.ids

    @cached_property
    def record(self) -> AnsweredRequest:
        """What is kept of it."""
        model, rows = self.model, self.rows
        form = model.format
        numbers: Sequence[Any] = rows.number_columns
        if len(rows) >= MANY:  # to write a number as text takes ten times as long
            numbers = [
                column.tobytes()
                for column in np.ascontiguousarray(self.packed.numbers.T, dtype="<f8")
            ]
        features = dict(zip(form.features, (*numbers, *rows.text_columns), strict=True))
        keys = rows.keys if rows.keys.count(None) < len(rows) else ()
        return AnsweredRequest(
            self.request,
            model.use_case.name,
            model.version,
            len(rows),
            to_json(features),
            _join(form.classes, self._written),
            keys,
        )

    @cached_property
    def _share_texts(self) -> list[list[bytes]]:
        """The probabilities as they are written, by class."""
        return [column[1:-1].split(b",") for column in self._written]

    def encode(self, first: int = 0, rows: int | None = None) -> bytes:
        """The answer of /predict to `rows` rows from the `first` on; to all of them unless told."""
        form, end = self.model.format, len(self.best) if rows is None else first + rows
        rows = end - first
        opening = b'{"id":"' + self.request.encode()
        seam = b'},"warnings":[]},' + opening
        shares = [column[first:end] for column in self._share_texts]
        step = 2 + 2 * len(shares)
        parts = [seam] * (step * rows + 1)
        parts[1::step] = form.number_rows(end)[first:]
        parts[2::step] = [form.predicted[best] for best in self.best[first:end]]
        parts[3::step] = shares[0]
        for place, (name, column) in enumerate(zip(form.between, shares[1:], strict=True)):
            parts[4 + 2 * place :: step] = [name] * rows
            parts[5 + 2 * place :: step] = column
        for row, warnings in self.warnings.items():
            if first <= row < end:
                parts[step * (row - first + 1)] = (
                    b'},"warnings":' + to_json(warnings) + b"}," + opening
                )
        parts[0] = form.head + opening
        parts[-1] = parts[-1][: -len(opening) - 1] + b"]}"
        return b"".join(parts)


def _join(names: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    return (
        b"{" + b",".join([name + value for name, value in zip(names, values, strict=True)]) + b"}"
    )
