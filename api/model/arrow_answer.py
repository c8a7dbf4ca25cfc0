"""Answers -> Arrow streams."""

from __future__ import annotations

from typing import Any

import numpy as np

from api.model.answer import Answered, LoadedModel
from api.rows.arrow import import_arrow


def write_arrow(answered: Answered) -> bytes:
    """The answer as an Arrow stream of one batch.

    Columns are id, prediction, a struct of probabilities by class, and the list of warnings. The
    schema's metadata name model and version.
    """
    arrow, model = import_arrow(), answered.model
    schema = _schema_of(model)
    classes = model.facts.classes
    shares = [arrow.array(column, arrow.float64()) for column in answered.shares]
    batch = arrow.RecordBatch.from_arrays(
        [
            _list_ids(answered),
            arrow.DictionaryArray.from_arrays(
                arrow.array(answered.best, arrow.int32()), arrow.array(classes, arrow.string())
            ),
            arrow.StructArray.from_arrays(shares, fields=list(schema.field("probabilities").type)),
            _list_warnings(answered),
        ],
        schema=schema,
    )
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _list_ids(answered: Answered) -> Any:
    arrow, form = import_arrow(), answered.model.format
    numbers = arrow.array(form.number_rows(len(answered.rows)), arrow.string())
    return arrow.compute.binary_join_element_wise(answered.request, numbers, "")


def _list_warnings(answered: Answered) -> Any:
    arrow, rows = import_arrow(), len(answered.rows)
    if answered.warnings:
        listed = [answered.warnings.get(row, ()) for row in range(rows)]
        return arrow.array(listed, arrow.list_(arrow.string()))
    nowhere = arrow.array(np.zeros(rows + 1, dtype=np.int32))
    return arrow.ListArray.from_arrays(nowhere, arrow.array([], arrow.string()))


def _schema_of(model: LoadedModel) -> Any:
    arrow = import_arrow()
    shares = arrow.struct([(name, arrow.float64()) for name in model.facts.classes])
    return arrow.schema(
        [
            ("id", arrow.string()),
            ("prediction", arrow.dictionary(arrow.int32(), arrow.string())),
            ("probabilities", shares),
            ("warnings", arrow.list_(arrow.string())),
        ],
        metadata={"model": model.facts.name, "version": str(model.version)},
    )
