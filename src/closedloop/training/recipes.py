"""Recipes: labelled rows and a seed in, a fitted scikit-learn pipeline out.

A recipe's name says which learner and which history: `lightgbm/recent`. To add a learner, add it to
`Recipe`, to `_model` and to `use_case.contract.Training.recipes`, its types to
`bundle.skops_model.TRUSTED_TYPES`, and its nodes to `bundle/onnx_graph.py`: without nodes its
pipeline answers in service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from closedloop.errors import ModelError

Recipe = Literal["logistic", "lightgbm", "baseline"]
HistoryKind = Literal["all", "recent"]

FEW_ROWS = 50_000


def recipe_name(recipe: Recipe, history: HistoryKind) -> str:
    """`learner/history`, as the journal, the registry and the report name it."""
    return f"{recipe}/{history}"


def parse_recipe(name: str) -> tuple[Recipe, HistoryKind]:
    """The learner and the history of a recipe's name; raises ModelError for an unknown name."""
    learner, _, history = name.partition("/")
    if learner not in get_args(Recipe) or history not in get_args(HistoryKind):
        raise ModelError(
            where="recipe",
            wanted=f"{'|'.join(get_args(Recipe))}/{'|'.join(get_args(HistoryKind))}",
            got=repr(name),
            then="check the version's recipe tag",
        )
    return cast(Recipe, learner), cast(HistoryKind, history)


def recency_weights(
    ages_in_windows: Sequence[float] | NDArray[Any], half_life: float
) -> NDArray[np.float64]:
    """Weights by age, shape (n,): 1 for the newest window, halved every `half_life` windows."""
    return np.asarray(np.power(0.5, np.asarray(ages_in_windows, dtype=float) / half_life))


def fit(
    recipe: Recipe,
    frame: pd.DataFrame,
    labels: NDArray[np.integer[Any]],
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    weights: NDArray[np.floating[Any]] | None = None,
    seed: int,
    classes: Sequence[str] | None = None,
) -> Pipeline:
    """Fit a recipe on a prepared frame; the same arguments give the same pipeline.

    `predict_proba` has a column for each label 0..k-1, in order. `weights` (n,) are relative: they
    are scaled to mean 1, so that their size does not change the regularisation. `classes` names the
    classes, so that a class without rows is noticed; without it only a gap in the numbers is.
    Raises ModelError when a class has no rows, there is no column, or the learner fails.
    """
    labels = np.asarray(labels)
    _refuse_missing_classes(labels, classes)
    if not numeric and not categorical:
        raise ModelError(
            where=f"recipe {recipe}",
            wanted="at least one column",
            got="none",
            then="add one to [columns] of loop.toml",
        )
    pipeline = Pipeline(
        [
            ("columns", _columns(recipe, numeric, categorical)),
            ("model", _model(recipe, len(labels), seed)),
        ]
    )
    fitting = {} if weights is None else {"model__sample_weight": _scaled(weights, len(labels))}
    try:
        return pipeline.fit(frame[[*numeric, *categorical]], labels, **fitting)
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise ModelError(
            where=f"recipe {recipe}",
            wanted="rows that the learner can fit",
            got=f"{type(error).__name__}: {error}",
            then="check that the frame was prepared under the contract",
        ) from error


def _refuse_missing_classes(
    labels: NDArray[np.integer[Any]], classes: Sequence[str] | None
) -> None:
    present = set(np.unique(labels).tolist())
    count = len(classes) if classes is not None else max(2, 1 + max(present, default=0))
    absent = [
        str(number) if classes is None else classes[number]
        for number in range(count)
        if number not in present
    ]
    if absent:
        raise ModelError(
            where="training rows",
            wanted=f"rows of all {count} classes",
            got=f"none of class {', '.join(absent)} in {len(labels)} rows",
            then="train on more windows, or remove the class from [target]",
        )
    if present != set(range(count)):
        raise ModelError(
            where="training rows",
            wanted=f"labels 0 to {count - 1}",
            got=f"labels {min(present)} to {max(present)}",
            then="number the labels in the order of [target] classes",
        )


def _scaled(weights: NDArray[np.floating[Any]], rows: int) -> NDArray[np.float64]:
    given = np.asarray(weights, dtype=float)
    if (
        given.shape != (rows,)
        or not np.isfinite(given).all()
        or (given < 0).any()
        or given.sum() == 0
    ):
        raise ModelError(
            where="training weights",
            wanted=f"{rows} weights, none negative, not all 0",
            got=f"shape {given.shape}, sum {given.sum():g}",
            then="use recency_weights",
        )
    return np.asarray(given / given.mean())


def _columns(
    recipe: Recipe, numeric: Sequence[str], categorical: Sequence[str]
) -> ColumnTransformer:
    """LightGBM splits on nulls; the others need them filled, and logistic regression scaled.

    `keep_empty_features`: a column that is all null today keeps its place, because tomorrow's rows
    may have values.
    """
    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    numbers: Any = {
        "lightgbm": "passthrough",
        "baseline": filled,
        "logistic": make_pipeline(filled, StandardScaler()),
    }[recipe]
    steps = [("numeric", numbers, list(numeric))] if numeric else []
    if categorical:
        # Dense, so that the learners and ONNX get the same kind of matrix whatever the data.
        steps.append(
            (
                "categorical",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                list(categorical),
            )
        )
    return ColumnTransformer(steps)


def _model(recipe: Recipe, rows: int, seed: int) -> Any:
    if recipe == "logistic":
        return LogisticRegression(max_iter=1000, random_state=seed)
    if recipe == "baseline":
        # The best single split: any useful model beats it.
        return DecisionTreeClassifier(max_depth=1, random_state=seed)
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=150,
        learning_rate=0.05,
        num_leaves=15,
        # 40 rows in a leaf would leave a small table without a single split.
        min_child_samples=min(40, max(5, rows // 20)),
        deterministic=True,
        force_row_wise=True,
        # On few rows, threads mostly wait for one another.
        n_jobs=1 if rows < FEW_ROWS else -1,
        verbosity=-1,
        random_state=seed,
    )
