"""The nodes of a fitted tree model.

Answers jump at the thresholds: a conversion that compares slightly differently is wrong there and
right everywhere else.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from closedloop.errors import ModelError

# When it predicts, LightGBM treats numbers this close to 0 as 0 and splits 0 from others here.
ZERO = float(np.float32(1e-35))
NO_THRESHOLD = 1e300
_HISTOGRAM_SPLIT = ("feature_idx", "num_threshold", "left", "right", "missing_go_to_left")


@dataclass(frozen=True)
class Node:
    """A split `column <= threshold`, or a leaf that adds `weights`, pairs of (class, value).

    `yes` and `no` are nodes of the same tree; `null_is_yes` says where a null goes.
    """

    tree: int
    number: int
    column: int = 0
    threshold: float = 0.0
    yes: int = 0
    no: int = 0
    null_is_yes: bool = False
    weights: tuple[tuple[int, float], ...] = ()

    @property
    def is_leaf(self) -> bool:
        return bool(self.weights)


def read_lightgbm(model: Any) -> tuple[tuple[Node, ...], int]:
    """Nodes of a fitted LGBMClassifier and the number of its scores: 1 for two classes, else k.

    Raises ModelError for what no recipe uses: splits on LightGBM's own categories, linear leaves,
    averaged trees.
    """
    content = model.booster_.dump_model()
    scores = int(content["num_tree_per_iteration"])
    objective = str(content["objective"]).split()
    if objective[0] not in ("binary", "multiclass") or (
        objective[0] == "binary" and "sigmoid:1" not in objective
    ):
        raise _unknown("binary with sigmoid 1, or multiclass", " ".join(objective))
    if content.get("average_output"):
        raise _unknown("boosted trees", "trees that are averaged")
    found: list[Node] = []
    for place, tree in enumerate(content["tree_info"]):
        # A list, not recursion: a tree may be deeper than Python's stack.
        waiting, used = [(0, tree["tree_structure"])], 1
        while waiting:
            number, node = waiting.pop()
            if "leaf_value" in node:
                if "leaf_coeff" in node:
                    raise _unknown("leaves that are numbers", "linear leaves")
                found.append(
                    Node(place, number, weights=((place % scores, float(node["leaf_value"])),))
                )
                continue
            if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
                raise _unknown(
                    "splits by <= where only null is missing",
                    f"{node['decision_type']}, missing {node['missing_type']}",
                )
            threshold = _effective(float(node["threshold"]))
            # A column without nulls in training: LightGBM then treats null as 0.
            null_is_yes = (
                bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0
            )
            yes, no, used = used, used + 1, used + 2
            waiting += [(yes, node["left_child"]), (no, node["right_child"])]
            found.append(
                Node(place, number, int(node["split_feature"]), threshold, yes, no, null_is_yes)
            )
    return tuple(found), scores


def _effective(threshold: float) -> float:
    """The threshold that splits numbers as LightGBM does after rounding them to 0."""
    if threshold >= NO_THRESHOLD:
        # A split of null from everything else has no threshold; the dump writes this number.
        return math.inf
    if -ZERO <= threshold < 0:
        return math.nextafter(-ZERO, -math.inf)
    return ZERO if 0 <= threshold < ZERO else threshold


def read_decision_trees(model: Any) -> tuple[Node, ...]:
    """Nodes of a fitted DecisionTreeClassifier or RandomForestClassifier.

    A leaf's weights are its class probabilities, divided by the number of trees.
    """
    fitted = [each.tree_ for each in getattr(model, "estimators_", [model])]
    found = []
    for place, tree in enumerate(fitted):
        shares = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True) / len(fitted)
        left, right = tree.children_left.tolist(), tree.children_right.tolist()
        columns, thresholds = tree.feature.tolist(), tree.threshold.tolist()
        null_left = tree.missing_go_to_left.tolist()
        for number in range(tree.node_count):
            if left[number] == right[number]:
                found.append(Node(place, number, weights=tuple(enumerate(shares[number].tolist()))))
            else:
                found.append(
                    Node(
                        place,
                        number,
                        columns[number],
                        thresholds[number],
                        left[number],
                        right[number],
                        bool(null_left[number]),
                    )
                )
    return tuple(found)


def read_hist_gradient_boosting(model: Any) -> tuple[tuple[Node, ...], int]:
    """Nodes of a fitted HistGradientBoostingClassifier, and its number of scores as above.

    What every row has before the first tree (`_baseline_prediction`) is not in them. Raises
    ModelError for splits on its own categories, which no recipe uses.
    """
    found, scores = [], int(model.n_trees_per_iteration_)
    for step, predictors in enumerate(model._predictors):
        for target, predictor in enumerate(predictors):
            place, nodes = step * scores + target, predictor.nodes
            if nodes["is_categorical"].any():
                raise _unknown("splits by <=", "splits on categories")
            leaf = nodes["is_leaf"].tolist()
            values = nodes["value"].tolist()
            splits = zip(*(nodes[name].tolist() for name in _HISTOGRAM_SPLIT), strict=True)
            for number, (column, threshold, yes, no, null_left) in enumerate(splits):
                found.append(
                    Node(place, number, weights=((target, values[number]),))
                    if leaf[number]
                    else Node(place, number, column, threshold, yes, no, bool(null_left))
                )
    return tuple(found), scores


def split_points(nodes: tuple[Node, ...], columns: int) -> dict[int, tuple[float, ...]]:
    """The distinct finite thresholds, ascending, by column, of the first `columns` columns."""
    found: dict[int, set[float]] = {}
    for node in nodes:
        if not node.is_leaf and node.column < columns and math.isfinite(node.threshold):
            found.setdefault(node.column, set()).add(node.threshold)
    return {column: tuple(sorted(found[column])) for column in sorted(found)}


def _unknown(wanted: str, got: str) -> ModelError:
    return ModelError(
        where="trees of the model",
        wanted=wanted,
        got=json.dumps(got),
        then="the pipeline answers instead",
    )
