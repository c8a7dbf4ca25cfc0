"""A fitted pipeline of `training/recipes.py` as an ONNX model. onnx's only door.

Inputs: `numbers` float64 (n, f), NaN for null, and `texts` string (n, c); an input without columns
is absent. One tensor for each column would double the time of a row. Output: `probabilities`
float32 (n, k), in the order of the classes.

Why no general converter: those compute in float32, where a number above 2^24 or next to a split
takes another branch than in the pipeline. In float64 nothing is rounded: scaling loses no digits,
and a tree compares the very numbers it was fitted on. The same pipeline gives the same bytes.

To add a learner, add its nodes to `_scores`; without nodes, its pipeline answers in service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.onnx_trees import (
    Node,
    read_decision_trees,
    read_hist_gradient_boosting,
    read_lightgbm,
    split_points,
)
from closedloop.errors import ModelError

# The oldest versions with every operator used here, so that older runtimes can read the file.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
_BOOSTED = {
    "LGBMClassifier": read_lightgbm,
    "HistGradientBoostingClassifier": read_hist_gradient_boosting,
}
_AVERAGED = ("DecisionTreeClassifier", "RandomForestClassifier")


def convert(pipeline: Any, numeric: Sequence[str], categorical: Sequence[str]) -> bytes:
    """The ONNX model of a fitted pipeline whose prepared frames have these columns.

    Raises ModelError, which names the step, when there are no nodes for a step.
    """
    graph = _Graph()
    try:
        columns, model = _steps(pipeline)
        features = _features(graph, columns, list(numeric), list(categorical))
        graph.add("Cast", [_scores(graph, model, features)], "probabilities", to=_type("FLOAT"))
        return graph.finish(len(numeric), len(categorical), len(model.classes_))
    except ModelError:
        raise
    except Exception as error:  # a foreign pipeline may lack any attribute
        raise _unknown(
            "a pipeline of columns and a model, as the recipes build it",
            f"{type(error).__name__}: {error}",
        ) from error


def find_split_points(pipeline: Any, numeric: Sequence[str]) -> dict[int, tuple[float, ...]]:
    """The thresholds of the model's trees, ascending, by the place of the numeric column.

    Empty for models without trees. Raises ModelError as `convert`.
    """
    _, model = _steps(pipeline)
    nodes: tuple[Node, ...] = ()
    kind = type(model).__name__
    if kind in _BOOSTED:
        nodes, _ = _BOOSTED[kind](model)
    elif kind in _AVERAGED:
        nodes = read_decision_trees(model)
    return split_points(nodes, len(numeric))


class _Graph:
    """Nodes and constants in the order of adding, named by number so that the bytes repeat."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(
        self, operation: str, inputs: list[str], name: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Append a node with a single output; returns that output's name."""
        from onnx import helper

        name = name or f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operation, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Append an array to the file; returns its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def finish(self, numbers: int, texts: int, classes: int) -> bytes:
        from onnx import checker, helper

        given = [("numbers", "DOUBLE", numbers), ("texts", "STRING", texts)]
        inputs = [
            helper.make_tensor_value_info(name, _type(kind), ["rows", width])
            for name, kind, width in given
            if width
        ]
        output = helper.make_tensor_value_info("probabilities", _type("FLOAT"), ["rows", classes])
        graph = helper.make_graph(self._nodes, "closedloop", inputs, [output], self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="closedloop"
        )
        checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def _steps(pipeline: Any) -> tuple[Any, Any]:
    steps = [step for _, step in getattr(pipeline, "steps", ())]
    if len(steps) != 2 or type(steps[0]).__name__ != "ColumnTransformer":
        raise _unknown(
            "a pipeline of a ColumnTransformer and a model",
            " and ".join(_names(steps)) or type(pipeline).__name__,
        )
    return steps[0], steps[1]


def _features(graph: _Graph, columns: Any, numeric: list[str], categorical: list[str]) -> str:
    """The model's input matrix, float64 (n, d)."""
    parts = []
    for _, step, names in columns.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        if list(names) == numeric and numeric:
            parts.append(_numbers(graph, step))
        elif list(names) == categorical and categorical:
            parts.append(_one_hot(graph, step))
        else:
            raise _unknown(
                "a step for the numeric columns and a step for the categorical columns",
                f"a step for {list(names)}",
            )
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def _numbers(graph: _Graph, step: Any) -> str:
    at, steps = "numbers", [step]
    if type(step).__name__ == "Pipeline":
        steps = [inner for _, inner in step.steps]
    for inner in steps:
        kind = type(inner).__name__
        if (
            kind == "SimpleImputer"
            and not inner.add_indicator
            and np.isnan(inner.missing_values)
            and np.isfinite(inner.statistics_).all()
        ):
            fill = graph.constant(np.asarray(inner.statistics_, dtype=np.float64).reshape(1, -1))
            at = graph.add("Where", [graph.add("IsNaN", [at]), fill, at])
        elif kind == "StandardScaler":
            # In scikit-learn's order: subtract, then divide.
            if inner.with_mean:
                at = graph.add(
                    "Sub",
                    [at, graph.constant(np.asarray(inner.mean_, dtype=np.float64).reshape(1, -1))],
                )
            if inner.with_std:
                at = graph.add(
                    "Div",
                    [at, graph.constant(np.asarray(inner.scale_, dtype=np.float64).reshape(1, -1))],
                )
        elif not (kind == "FunctionTransformer" and inner.func is None) and inner != "passthrough":
            raise _unknown(
                "SimpleImputer, StandardScaler or passthrough for the numeric columns", kind
            )
    return at


def _one_hot(graph: _Graph, step: Any) -> str:
    """Look every text up as a number, once for all columns, and compare it with the categories."""
    if type(step).__name__ != "OneHotEncoder" or step.handle_unknown != "ignore":
        raise _unknown("a OneHotEncoder that ignores unseen categories", type(step).__name__)
    if step.drop is not None or step.min_frequency is not None or step.max_categories is not None:
        raise _unknown(
            "a OneHotEncoder that keeps all categories", "an encoder that drops or merges some"
        )
    categories = [list(values) for values in step.categories_]
    strange = [value for values in categories for value in values if not isinstance(value, str)]
    if strange:
        raise _unknown("categories that are texts", repr(strange[0]))
    known = sorted({value for values in categories for value in values})
    number = {value: place for place, value in enumerate(known)}
    codes = graph.add(
        "LabelEncoder",
        ["texts"],
        domain="ai.onnx.ml",
        keys_strings=known,
        values_int64s=list(range(len(known))),
        default_int64=-1,
    )
    owners = np.repeat(
        np.arange(len(categories), dtype=np.int64), [len(values) for values in categories]
    )
    wanted = np.array(
        [[number[value] for values in categories for value in values]], dtype=np.int64
    )
    found = graph.add(
        "Equal",
        [graph.add("Gather", [codes, graph.constant(owners)], axis=1), graph.constant(wanted)],
    )
    return graph.add("Cast", [found], to=_type("DOUBLE"))


def _scores(graph: _Graph, model: Any, features: str) -> str:
    """Class probabilities, (n, k)."""
    kind, classes = type(model).__name__, len(model.classes_)
    if kind == "LogisticRegression" and not (model.solver == "liblinear" and classes > 2):
        weights = graph.constant(np.asarray(model.coef_, dtype=np.float64).T)
        summed = graph.add("MatMul", [features, weights])
        bias = graph.constant(np.asarray(model.intercept_, dtype=np.float64).reshape(1, -1))
        return _shares(graph, graph.add("Add", [summed, bias]), classes)
    if kind in _BOOSTED:
        nodes, scores = _BOOSTED[kind](model)
        summed = _ensemble(graph, nodes, scores, features)
        if kind == "HistGradientBoostingClassifier":
            start = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)
            summed = graph.add("Add", [summed, graph.constant(start)])
        return _shares(graph, summed, classes)
    if kind in _AVERAGED:
        # scikit-learn's trees compare float32.
        seen = graph.add(
            "Cast", [graph.add("Cast", [features], to=_type("FLOAT"))], to=_type("DOUBLE")
        )
        return _ensemble(graph, read_decision_trees(model), classes, seen)
    raise _unknown(" or ".join(("LogisticRegression", *_BOOSTED, *_AVERAGED)), kind)


def _shares(graph: _Graph, scores: str, classes: int) -> str:
    if classes > 2:
        return graph.add("Softmax", [scores], axis=1)
    second = graph.add("Sigmoid", [scores])
    return graph.add(
        "Concat", [graph.add("Sub", [graph.constant(np.ones((1, 1))), second]), second], axis=1
    )


def _ensemble(graph: _Graph, nodes: tuple[Node, ...], scores: int, features: str) -> str:
    """Summed leaf values, float64 (n, scores)."""
    from onnx import helper

    leaves = [
        (node.tree, node.number, target, value) for node in nodes for target, value in node.weights
    ]
    thresholds = helper.make_tensor(
        "thresholds", _type("DOUBLE"), [len(nodes)], [node.threshold for node in nodes]
    )
    weights = helper.make_tensor(
        "weights", _type("DOUBLE"), [len(leaves)], [value for *_, value in leaves]
    )
    summed = graph.add(
        "TreeEnsembleRegressor",
        [features],
        domain="ai.onnx.ml",
        n_targets=scores,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=[node.tree for node in nodes],
        nodes_nodeids=[node.number for node in nodes],
        nodes_modes=["LEAF" if node.is_leaf else "BRANCH_LEQ" for node in nodes],
        nodes_featureids=[node.column for node in nodes],
        nodes_values_as_tensor=thresholds,
        nodes_truenodeids=[node.yes for node in nodes],
        nodes_falsenodeids=[node.no for node in nodes],
        nodes_missing_value_tracks_true=[int(node.null_is_yes) for node in nodes],
        target_treeids=[tree for tree, *_ in leaves],
        target_nodeids=[number for _, number, *_ in leaves],
        target_ids=[target for *_, target, _ in leaves],
        target_weights_as_tensor=weights,
    )
    return graph.add("Cast", [summed], to=_type("DOUBLE"))


def _type(name: str) -> int:
    from onnx import TensorProto

    return int(getattr(TensorProto, name))


def _names(steps: Sequence[Any]) -> list[str]:
    return [type(step).__name__ for step in steps]


def _unknown(wanted: str, got: str) -> ModelError:
    return ModelError(
        where="conversion to ONNX", wanted=wanted, got=got, then="the pipeline answers instead"
    )
