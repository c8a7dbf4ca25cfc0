"""Whether a loaded version can be asked: its trees end, and its answers are probabilities."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from closedloop.bundle.files import Facts
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.scorer import are_probabilities, pack_rows
from closedloop.errors import ModelError

MAX_SELF_TEST_ROWS, MAX_REFERENCE_ROWS = 10_000, 1_000_000
RANDOM_ROWS = 2_000
_TREES = ("Booster", "TreePredictor")
_EXTREMES = (np.nan, 0.0, -1.0, 1e6, -1e6, 1e30, -1e30)


def check_version(version: LoadedVersion) -> None:
    """Ask the version the rows it came with, awkward rows and random ones.

    Raises ModelError when it names its classes twice or otherwise than its contract, has no whole
    self-test, has a tree that leads outside of itself, or gives answers that are no probabilities.
    """
    _check_facts(version.facts)
    names, test = version.facts.classes, version.self_test
    if names != version.use_case.target.classes or len({*names}) != len(names) or len(names) < 2:
        raise _refusal(
            f"the classes {', '.join(version.use_case.target.classes)[:200]}",
            ", ".join(names)[:200],
        )
    threshold = version.facts.threshold
    if threshold is not None and not (len(names) == 2 and 0 <= threshold <= 1):
        raise _refusal("a threshold from 0 to 1, of two classes", f"{threshold:g} of {len(names)}")
    if not 0 < len(test.rows) <= MAX_SELF_TEST_ROWS:
        raise _refusal("rows to repeat its answers on", f"{len(test.rows)} rows")
    if len(test.background) > MAX_SELF_TEST_ROWS:
        raise _refusal("few rows of the reference", f"{len(test.background)} rows")
    if test.labels is not None and {*test.labels} != {*range(len(names))}:
        raise _refusal("a self-test with rows of every class", "a class without")
    if not are_probabilities(test.answers, len(test.rows), len(names)):
        raise _refusal("a self-test of probabilities", "other answers")
    for trees in _find_trees(getattr(version.scorer, "pipeline", None)):
        check_trees(*trees)
    scorer = version.scorer
    known = (*test.rows, *test.background)
    numbers, texts = pack_rows(known, scorer.numeric, scorer.categorical)
    for packed in ((numbers, texts), _awkward(numbers, texts), _random(numbers, texts)):
        answers = scorer.probabilities(*packed)
        if not are_probabilities(answers, len(packed[0]), len(names)):
            raise _refusal(
                f"{len(names)} probabilities that sum to 1 for each row",
                f"{answers.dtype} {answers.shape} from {np.min(answers):g} to {np.max(answers):g}"
                if answers.size and answers.dtype.kind in "fiu"
                else f"{answers.dtype} {answers.shape}",
            )


def check_reference(version: LoadedVersion) -> None:
    """Read the sample of the training rows; raises ModelError when it is not one of the contract.

    Raises whatever a damaged file makes its reader raise.
    """
    reference = version.reference()
    missing = sorted(set(version.use_case.columns) - set(reference.columns))
    if missing or len(reference) > MAX_REFERENCE_ROWS:
        raise _refusal(
            f"at most {MAX_REFERENCE_ROWS:,} training rows with every column",
            f"{len(reference):,} rows without {', '.join(missing)[:200] or 'any more'}",
        )


def _check_facts(facts: Facts) -> None:
    """Texts and numbers where they belong: what reads them later, in an answer, does not ask."""
    try:
        TypeAdapter(Facts).validate_json(json.dumps(asdict(facts)), strict=True)
        TypeAdapter(dict[str, _Statistics]).validate_python(facts.statistics, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _refusal("facts as a training writes them", f"{place}: {first['msg']}") from None


class _Statistics(TypedDict, total=False):
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    median: float | None
    null_rate: float | None
    shares: dict[str, float]


def check_trees(
    left: NDArray[np.integer[Any]],
    right: NDArray[np.integer[Any]],
    columns: NDArray[np.integer[Any]],
    leaves: int,
    width: int,
) -> None:
    """The branches of a tree, by number: each leads to later ones, or to a leaf.

    Leaf 0 is -1, leaf 1 is -2, and so on. Raises ModelError for a tree that leads outside, back, or
    asks for another than one of `width` columns.
    """
    numbers = np.arange(len(left))
    for children in (left, right):
        later = (children > numbers) & (children < len(left))
        leaf = (children < 0) & (-children.astype(np.int64) <= leaves)
        if len(children) != len(left) or not (later | leaf).all():
            raise _refusal("trees whose paths end", "a branch that leads outside or back")
    if len(columns) != len(left) or ((columns < 0) | (columns >= width)).any():
        raise _refusal(f"trees over {width} columns", "a branch on another column")


def _awkward(
    numbers: NDArray[Any], texts: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    rows = np.repeat(numbers[:1], len(_EXTREMES), axis=0)
    rows[:] = np.array(_EXTREMES)[:, np.newaxis]
    words = np.repeat(texts[:1], len(_EXTREMES), axis=0)
    words[::2] = "(never seen)"
    return rows, words


def _random(numbers: NDArray[Any], texts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Rows anywhere in the range of the self-test's, and a little beyond it."""
    draw = np.random.default_rng(0)
    known = np.where(np.isfinite(numbers), numbers, 0.0)
    low, high = known.min(axis=0), known.max(axis=0)
    rows = low + draw.uniform(-0.1, 1.1, (RANDOM_ROWS, numbers.shape[1])) * (high - low)
    words = np.empty((RANDOM_ROWS, texts.shape[1]), dtype=object)
    for place in range(texts.shape[1]):
        words[:, place] = texts[draw.integers(0, len(texts), RANDOM_ROWS), place]
    return rows, words


def _find_trees(pipeline: Any) -> Iterator[tuple[Any, Any, Any, int, int]]:
    """What `check_trees` takes, of every tree in the pipeline."""
    waiting, seen = [pipeline], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list | tuple | set):
            waiting += found
        elif isinstance(found, np.ndarray):
            waiting += found.ravel().tolist() if found.dtype == object else []
        elif hasattr(found, "children_left") or type(found).__name__ in _TREES:
            # A model checks how many columns its rows have; a tree does not.
            raise _refusal("trees of models", "a tree without a model")
        else:
            inside = dict(getattr(found, "__dict__", {}))
            if "tree_" in inside:
                yield _fitted_tree(inside.pop("tree_"), found.n_features_in_)
            if (booster := inside.pop("_Booster", None)) is not None:
                xgboost = type(booster).__module__.startswith("xgboost.")
                read = _xgboost_trees if xgboost else _boosted_trees
                yield from read(booster, getattr(found, "_n_features", found.n_features_in_))
            for predictor in itertools.chain(*inside.pop("_predictors", ())):
                yield _histogram_tree(predictor.nodes, found.n_features_in_)
            waiting += inside.values()


def _fitted_tree(tree: Any, width: int) -> tuple[Any, Any, Any, int, int]:
    """A tree of scikit-learn; its only leaf is -1, whatever else stands in a leaf."""
    if not tree.node_count:
        raise _refusal("trees with nodes", "one without")
    width = min(int(tree.n_features), int(width))
    left, right = tree.children_left, tree.children_right
    return _of_nodes(left != -1, left, right, tree.feature, width)


def _histogram_tree(nodes: Any, width: int) -> tuple[Any, Any, Any, int, int]:
    if not len(nodes) or nodes["is_categorical"].any():
        raise _refusal("trees with nodes, which split by <=", "others")
    left, right = (nodes[side].astype(np.int64) for side in ("left", "right"))
    return _of_nodes(nodes["is_leaf"] == 0, left, right, nodes["feature_idx"], width)


def _xgboost_trees(booster: Any, width: int) -> Iterator[tuple[Any, Any, Any, int, int]]:
    content = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    if content["name"] != "gbtree":
        raise _refusal("XGBoost's gbtree, whose trees add up", str(content["name"]))
    for tree in content["model"]["trees"]:
        names = ("left_children", "right_children", "split_indices", "split_type")
        left, right, columns, kinds = (np.array(tree[name], dtype=np.int64) for name in names)
        if not len(left) == len(right) == len(columns) or kinds.any():
            raise _refusal("trees with nodes, which split by <", "others")
        width = min(int(booster.num_features()), int(width))
        yield _of_nodes(left != -1, left, right, columns, width)


def _of_nodes(
    branch: Any, left: Any, right: Any, columns: Any, width: int
) -> tuple[Any, Any, Any, int, int]:
    """What `check_trees` takes, of trees whose leaves are nodes of their own, too."""
    sides = (np.where(branch, side, -1) for side in (left, right))
    # A leaf of a branch is a node, so no child of a branch may be -1.
    left, right = (np.where(branch & (side < 0), len(branch), side) for side in sides)
    return left, right, np.where(branch, columns, 0), 1, int(width)


def _boosted_trees(booster: Any, width: int) -> Iterator[tuple[Any, Any, Any, int, int]]:
    width = min(booster.num_feature(), int(width))
    for text in booster.model_to_string().split("\nTree=")[1:]:
        lines = text.partition("\n\n")[0].splitlines()
        fields = dict(line.partition("=")[::2] for line in lines)
        leaves = int(fields["num_leaves"])
        if fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
            raise _refusal("splits by <= and leaves that are numbers", "others")
        left, right, columns = (
            np.array(fields.get(name, "").split(), dtype=np.int64)
            for name in ("left_child", "right_child", "split_feature")
        )
        if len(left) != leaves - 1:
            raise _refusal(f"{leaves - 1} branches to {leaves} leaves", f"{len(left)}")
        yield left, right, columns, leaves, width


def _refusal(wanted: str, got: str) -> ModelError:
    return ModelError(
        where="the files of the version",
        wanted=wanted,
        got=got,
        then="do not serve this version: roll back, or train again",
    )
