"""What a `model.onnx` is made of, read before onnxruntime builds anything of it.

A graph of `onnx_graph.py` is a straight line of few operators over constants that are in the file.
Whatever could run for ever, read another file or lead outside of a tree is refused. The file is a
protocol buffer; a service has no `onnx` package, and needs only the few fields named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.onnx_graph import ML_OPSET, OPSET
from closedloop.errors import ModelError

OPERATORS = {
    "": {
        *("Add", "Cast", "Concat", "Div", "Equal", "Gather"),
        *("IsNaN", "MatMul", "Sigmoid", "Softmax", "Sub", "Where"),
    },
    "ai.onnx.ml": {"LabelEncoder", "TreeEnsembleRegressor"},
}
# Numbers of fields in onnx.proto.
_GRAPH, _OPSETS, _TRAINING, _FUNCTIONS = 7, 8, 20, 25
_NODES, _CONSTANTS, _SPARSE = 1, 5, 15
_INPUTS, _OPERATOR, _ATTRIBUTES, _DOMAIN = 1, 4, 5, 7
_NAME, _INT, _TENSOR, _INTS, _STRINGS = 1, 3, 5, 8, 9
_SHAPE, _CONSTANT = 1, 8
_KNOWN_ATTRIBUTE = {1, 2, 3, 4, 5, 7, 8, 9, 13, 20, 21}  # no graph, no sparse tensor, no type
_OUTSIDE, _PLACE = 13, 14

Fields = dict[int, list[Any]]


def check_graph(content: bytes, numbers: int) -> None:
    """Raise ModelError for a graph that `onnx_graph.py` would not write for so many numbers.

    Raises ValueError for what is no ONNX model.
    """
    model = _read(memoryview(content))
    if _TRAINING in model or _FUNCTIONS in model or len(model.get(_GRAPH, ())) != 1:
        raise _refusal("a single graph", "functions, training steps or no graph")
    for opset in map(_read, model.get(_OPSETS, ())):
        domain, version = _text(opset, 1), int(opset.get(2, [0])[-1])
        if version > {"": OPSET, "ai.onnx.ml": ML_OPSET}.get(domain, -1):
            raise _refusal("operators of this version", f"set {version} of {domain or 'ai.onnx'}")
    graph = _read(model[_GRAPH][0])
    if _SPARSE in graph:
        raise _refusal("constants in rows and columns", "sparse ones")
    width = {}  # of the constants, by name
    for tensor in map(_read, graph.get(_CONSTANTS, ())):
        _check_tensor(tensor)
        width[_text(tensor, _CONSTANT)] = ([1, *_integers(tensor, _SHAPE).tolist()])[-1]
    columns = numbers  # and those of the categories
    for node in map(_read, graph.get(_NODES, ())):
        domain, operator = _text(node, _DOMAIN), _text(node, _OPERATOR)
        if operator not in OPERATORS.get(domain, ()):
            raise _refusal("operators of our conversion", f"{operator} of {domain or 'ai.onnx'}")
        if operator == "Equal":
            columns += max(width.get(bytes(name).decode(), 0) for name in node.get(_INPUTS, [b""]))
        given = [_read(found) for found in node.get(_ATTRIBUTES, ())]
        attributes = {_text(found, _NAME): found for found in given}
        if len(attributes) < len(given):
            raise _refusal("attributes that are there once", f"{operator} with one twice")
        for attribute in given:
            if not attribute.keys() <= _KNOWN_ATTRIBUTE:
                raise _refusal("numbers and texts as attributes", f"{operator} with a graph")
            for tensor in map(_read, attribute.get(_TENSOR, ())):
                _check_tensor(tensor)
        if operator == "TreeEnsembleRegressor":
            _check_trees(attributes, columns)


def _check_tensor(tensor: Fields) -> None:
    if _OUTSIDE in tensor or tensor.get(_PLACE, [0])[-1]:
        raise _refusal("constants in the file", "constants in another file")


def _check_trees(attributes: dict[str, Fields], columns: int) -> None:
    """Every branch leads to two later nodes of its tree, so that every path ends at a leaf.

    It asks for one of so many `columns`, and a leaf adds to one of the scores.
    """
    names = "nodes_treeids nodes_nodeids nodes_truenodeids nodes_falsenodeids nodes_featureids"
    lists = [_integers(attributes.get(name, {}), _INTS) for name in names.split()]
    trees, numbers, yes, no, asked = lists
    modes = [bytes(mode) for mode in attributes.get("nodes_modes", {}).get(_STRINGS, ())]
    branch = np.array([mode != b"LEAF" for mode in modes], dtype=bool)
    if {len(values) for values in lists} != {len(branch)}:
        raise _refusal("trees whose nodes are complete", "lists of different lengths")
    size = int(numbers.max(initial=0)) + 1
    if min(trees.min(initial=0), numbers.min(initial=0)) < 0 or size > len(numbers):
        raise _refusal("nodes numbered from 0", "other numbers")
    there = np.unique(trees * size + numbers)
    for children in (yes[branch], no[branch]):
        later = (children > numbers[branch]) & (children < size)
        if not (later.all() and np.isin(trees[branch] * size + children, there).all()):
            raise _refusal("trees whose paths end", "a branch that leads outside or back")
    if ((asked[branch] < 0) | (asked[branch] >= columns)).any():
        raise _refusal(f"trees over {columns} columns", "a branch on another column")
    scores = attributes.get("n_targets", {}).get(_INT, [0])[-1]
    targets = _integers(attributes.get("target_ids", {}), _INTS)
    if ((targets < 0) | (targets >= scores)).any():
        raise _refusal(f"leaves for {scores} scores", "a leaf for another")
    if len(there) != len(numbers):
        raise _refusal("trees whose nodes are there once", "the same node twice")


def _integers(fields: Fields, number: int) -> NDArray[np.int64]:
    """A list of integers, which is packed or not."""
    found: list[int] = []
    for value in fields.get(number, ()):
        found += [value] if isinstance(value, int) else _varints(value)
    # Negative numbers are written as 64 bits.
    return np.array(found, dtype=np.uint64).astype(np.int64)


def _varints(content: memoryview) -> Iterator[int]:
    place = 0
    while place < len(content):
        value, place = _varint(content, place)
        yield value


def _read(content: memoryview) -> Fields:
    """Number of a field -> its values: integers, or the bytes of texts, lists and messages."""
    found: Fields = {}
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        value: Any
        if key & 7 == 0:
            value, place = _varint(content, place)
        else:
            if key & 7 == 2:
                size, place = _varint(content, place)
            else:
                size = {1: 8, 5: 4}.get(key & 7, -1)
            if not 0 <= size <= len(content) - place:
                raise ValueError("no ONNX model: it is cut short, or something else")
            value, place = content[place : place + size], place + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content) and shift < 70:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value & (2**64 - 1), place
    raise ValueError("no ONNX model: it is cut short, or something else")


def _text(fields: Fields, number: int) -> str:
    """The last value counts, as for every reader of protocol buffers."""
    return bytes(fields.get(number, [b""])[-1]).decode()


def _refusal(wanted: str, got: str) -> ModelError:
    return ModelError(
        where="model.onnx",
        wanted=wanted,
        got=got,
        then="do not serve this file: closedloop, or this version of it, did not make it",
    )
