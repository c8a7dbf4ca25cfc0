"""A `model.onnx` that is not of our making is refused before onnxruntime sees it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from closedloop.bundle.files import ONNX_FILE
from closedloop.bundle.onnx_check import check_graph
from closedloop.errors import ModelError
from tests.unit.bundle.shop import NUMERIC, fit_pipeline, write_proved


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of each learner, with ONNX."""
    found = {}
    for recipe in ("lightgbm", "logistic", "baseline"):
        found[recipe] = tmp_path_factory.mktemp("bundles") / recipe
        assert write_proved(found[recipe], fit_pipeline(recipe)).served_by == "onnx"
    return found


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", "on"], ["out"], body=body))


def elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def external_entry_alone(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def hidden_graph(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(
        helper.make_attribute("body", helper.make_graph([], "body", [], []))
    )


def constant_elsewhere(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(1), "x")
    tensor.external_data.add(key="location", value="x")
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def change(name: str, place: int, value: int) -> Callable[[onnx.ModelProto], None]:
    def do(model: onnx.ModelProto) -> None:
        (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor")
        (found,) = (attribute for attribute in trees.attribute if attribute.name == name)
        found.ints[place] = value

    return do


def twice(model: onnx.ModelProto) -> None:
    (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor")
    trees.attribute.append(helper.make_attribute("nodes_truenodeids", [0]))


GRAPHS: dict[str, Any] = {
    "a loop": loop,
    "a condition": lambda model: model.graph.node.append(helper.make_node("If", ["c"], ["out"])),
    "chance": lambda model: model.graph.node.append(
        helper.make_node("RandomUniform", [], ["out"], shape=[1])
    ),
    "an operator of others": lambda model: model.graph.node.append(
        helper.make_node("Add", ["a", "b"], ["out"], domain="com.evil")
    ),
    "an operator in another domain": lambda model: model.graph.node.append(
        helper.make_node("Loop", ["a"], ["out"], domain="ai.onnx")
    ),
    "a set of others": lambda model: model.opset_import.append(helper.make_opsetid("evil", 1)),
    "a set of the future": lambda model: model.opset_import.append(helper.make_opsetid("", 99)),
    "functions": lambda model: model.functions.add(name="f"),
    "training": lambda model: model.training_info.add(),
    "sparse constants": lambda model: model.graph.sparse_initializer.add(),
    "constants elsewhere": elsewhere,
    "constants elsewhere, half said": external_entry_alone,
    "an attribute elsewhere": constant_elsewhere,
    "a graph as attribute": hidden_graph,
    "a branch to itself": change("nodes_truenodeids", 0, 0),
    "a branch outside": change("nodes_falsenodeids", 0, 10_000),
    "a branch before": change("nodes_falsenodeids", 0, -1),
    "a node of no tree": change("nodes_treeids", 0, 10**12),
    "a tree before": change("nodes_treeids", 0, -1),
    "a column outside": change("nodes_featureids", 0, 99),
    "a column before": change("nodes_featureids", 0, -1),
    "a score outside": change("target_ids", 0, 5),
    "a list twice": twice,
}


@pytest.mark.parametrize("harm", GRAPHS.values(), ids=GRAPHS)
def test_a_graph_that_is_not_of_our_making_is_refused_unread(
    proved: dict[str, Path], harm: Callable[[onnx.ModelProto], object]
) -> None:
    """Loops, graphs in graphs, other files, other operators, trees that lead outside: onnxruntime
    never sees them."""
    model = onnx.load(str(proved["lightgbm"] / ONNX_FILE))
    harm(model)
    with pytest.raises(ModelError, match=r"model\.onnx: wanted"):
        check_graph(model.SerializeToString(), len(NUMERIC))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"PK\3\4", b"\x3a\x7f", b"\x00" * 9])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    """Nothing, noise, an archive, a graph cut short."""
    with pytest.raises((ModelError, ValueError)):
        check_graph(content, 2)


def test_every_byte_of_a_graph_may_be_wrong(proved: dict[str, Path]) -> None:
    """The reader of the file ends with a verdict, whatever single byte was changed."""
    content = bytearray((proved["logistic"] / ONNX_FILE).read_bytes())
    for place in range(0, len(content), 3):
        was, content[place] = content[place], content[place] ^ 0xFF
        with suppress(ModelError, ValueError):
            check_graph(bytes(content), len(NUMERIC))
        content[place] = was
