"""The version in service and its answers to the rows of a request, kept as columns.

The JSON of an answer is joined from pieces that are written once per model; per row, only numbers
are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from api.rows.check import RowType
from api.rows.decode import RowReader
from api.rows.decode_tables import TableDecoder
from api.rows.pack import MANY, Packed, Packer
from api.rows.rows import Rows
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.scorer import SHARE_TOLERANCE
from closedloop.errors import ModelError
from closedloop.metrics.threshold import answer_classes
from closedloop.records.request import AnsweredRequest, make_request_id, to_json


class AnswerFormat:
    """The JSON pieces of a model's answers and records."""

    def __init__(
        self, name: str, version: int, features: Sequence[str], classes: Sequence[str]
    ) -> None:
        names = [to_json(name) for name in classes]
        named = [name + b":" for name in names]
        self.head = (
            b'{"model":'
            + to_json(name)
            + b',"version":'
            + str(version).encode()
            + b',"predictions":['
        )
        # From the id of a row to its first probability, by predicted class.
        self.predicted = [
            b'","prediction":' + name + b',"probabilities":{' + named[0] for name in names
        ]
        self.between = [b"," + name for name in named[1:]]
        self.features, self.classes = features, named
        self._numbers: list[bytes] = []

    def number_rows(self, rows: int) -> list[bytes]:
        """What follows the request's id in the ids of its rows."""
        if len(self._numbers) < rows:
            self._numbers = [b"-%06d" % row for row in range(rows)]
        return self._numbers[:rows]


class LoadedModel:
    """The version in service: it reads rows, scores them and formats the answer.

    Never changed, so that a whole request is answered by the same version. Besides the columns that
    its own contract keeps out of the records, those of `unrecorded` are.
    """

    def __init__(
        self,
        version: int,
        loaded: LoadedVersion,
        loaded_at: datetime,
        unrecorded: Iterable[str] = (),
    ) -> None:
        self.version, self.loaded, self.loaded_at = version, loaded, loaded_at
        self.scorer, self.facts, self.use_case = loaded.scorer, loaded.facts, loaded.use_case
        self.row_type = RowType(self.use_case)
        self.reader = RowReader(self.use_case, self.row_type)
        self.table_decoder = TableDecoder(self.use_case, self.reader)
        self._packer = Packer(self.use_case)
        self.format = AnswerFormat(
            self.facts.name,
            version,
            (*self.use_case.numeric, *self.use_case.categorical),
            self.facts.classes,
        )
        self.unrecorded = frozenset({*self.use_case.unrecorded, *unrecorded})

    def answer(self, rows: Rows) -> Answered:
        """Answer all rows with a single call of the model; raises ModelError for broken answers."""
        classes = self.facts.classes
        packed = self._packer.pack(rows)
        probabilities = self.scorer.probabilities(packed.numbers, packed.texts)
        shares: list[list[float]] = probabilities.T.tolist()
        # In all, what is not finite shows too, and a share over 1 takes another below 0.
        if (
            probabilities.shape != (len(rows), len(classes))
            or not abs(sum(map(sum, shares)) - len(rows)) <= SHARE_TOLERANCE * len(rows)
            or (len(rows) and min(map(min, shares)) < -SHARE_TOLERANCE)
        ):
            raise ModelError(
                where=f"version {self.version}",
                wanted=f"{len(classes)} probabilities for each row",
                got=f"shape {probabilities.shape}, or values that are none",
                then="go back with: closedloop rollback",
            )
        return Answered(
            self,
            rows,
            packed,
            shares,
            answer_classes(probabilities, self.facts.threshold).tolist(),
            self._packer.find_warnings(rows, packed),
        )


class Answered:
    """The rows of a request with the answers of a single model.

    `shares` are the probabilities by class, `best` is the number of each row's answered class, and
    `warnings` are by row, where there are any.
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
        """The id of each row, in order."""
        return self.record.ids

    @cached_property
    def record(self) -> AnsweredRequest:
        """What is recorded."""
        model, rows = self.model, self.rows
        form = model.format
        features = self._columns
        if model.unrecorded:
            features = {
                name: column for name, column in features.items() if name not in model.unrecorded
            }
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

    @property
    def features(self) -> bytes:
        """Every column as `AnsweredRequest` has them, also those that are not recorded."""
        return to_json(self._columns) if self.model.unrecorded else self.record.features

    @property
    def _columns(self) -> dict[str, Any]:
        rows = self.rows
        numbers: Sequence[Any] = (
            rows.number_columns
            if len(rows) < MANY
            # Writing a number as text takes ten times as long.
            else [*map(bytes, np.ascontiguousarray(self.packed.numbers.T, dtype="<f8"))]
        )
        return dict(zip(self.model.format.features, (*numbers, *rows.text_columns), strict=True))

    @cached_property
    def _share_texts(self) -> list[list[bytes]]:
        """The probabilities as JSON texts, by class."""
        return [column[1:-1].split(b",") for column in self._written]

    def encode(self, first: int = 0, rows: int | None = None) -> bytes:
        """The JSON answer of /predict for `rows` rows from `first` on; all rows by default."""
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
