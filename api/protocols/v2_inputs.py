"""The input tensors -> columns: one tensor per column, or `numbers` and `texts` for all columns."""

from __future__ import annotations

import difflib
from typing import Any

from api.protocols.columns import Table, known_names
from api.protocols.v2_tensors import BYTES, InferRequest, InputTensor, TensorReader, tensor_refusal
from api.refusal import Refusal, show
from closedloop.use_case.contract import UseCase

NUMBERS, TEXTS = "numbers", "texts"


def packed_columns(use_case: UseCase) -> dict[str, tuple[str, ...]]:
    """`numbers` and `texts` with the columns that each holds, in order.

    A name that a column of the model has is left out.
    """
    packed = {NUMBERS: use_case.numeric, TEXTS: use_case.categorical}
    return {
        name: columns
        for name, columns in packed.items()
        if columns and name not in known_names(use_case)
    }


def read_inputs(request: InferRequest, raw: bytes, use_case: UseCase) -> Table:
    """The table in the inputs. Raises Refusal 400 naming the input, what it wants and got."""
    reader, known, packed = TensorReader(raw), known_names(use_case), packed_columns(use_case)
    columns: dict[str, list[Any]] = {}
    rows: int | None = None
    for tensor in request.inputs:
        names = packed.get(tensor.name) or (tensor.name,)
        if tensor.name not in known and tensor.name not in packed:
            near = difflib.get_close_matches(tensor.name, known, n=1, cutoff=0.5)
            wanted = near[0] if near else ", ".join([*known, *packed])[:500]
            raise Refusal(
                400,
                f"input {show(tensor.name)}: wanted {wanted}, got a name unknown to the model",
            )
        if duplicates := [name for name in names if name in columns]:
            raise tensor_refusal(tensor, "each column once", f"{duplicates[0]} twice")
        _refuse_shape(tensor, rows, len(names) if tensor.name in packed else None)
        if tensor.datatype == BYTES and names[0] in use_case.numeric:
            raise tensor_refusal(tensor, "numbers, such as FP64", BYTES)
        rows = tensor.shape[0]
        values = reader.read(tensor)
        if tensor.datatype == "BOOL" and names[0] in use_case.numeric:
            values = [None if value is None else int(value) for value in values]
        columns.update({name: values[place :: len(names)] for place, name in enumerate(names)})
    reader.finish()
    return Table(columns, rows or 0)


def _refuse_shape(tensor: InputTensor, rows: int | None, width: int | None) -> None:
    fitting = (len(tensor.shape) == 2 and tensor.shape[1] == (width or 1)) or (
        len(tensor.shape) == 1 and width is None
    )
    if not fitting or (rows is not None and tensor.shape[0] != rows):
        length = "n" if rows is None else rows
        raise tensor_refusal(
            tensor,
            f"shape [{length}, {width}]" if width else f"shape [{length}] or [{length}, 1]",
            f"{tensor.shape}"[:80],
        )
