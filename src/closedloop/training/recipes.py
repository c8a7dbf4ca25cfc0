"""Recipes: labelled rows and a seed in, a fitted scikit-learn pipeline out.

A candidate's name says which recipe and which history: `lightgbm/recent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from closedloop.errors import ModelError
from closedloop.training.frequent_categories import choose_categories
from closedloop.training.learners import FEW_ROWS, THREADS, make_learner
from closedloop.training.own_estimator import build_estimator, check_answers, fitting_arguments
from closedloop.use_case.recipe import Recipe

HistoryKind = Literal["all", "recent", "newest"]


def recipe_name(recipe: str, history: HistoryKind) -> str:
    """`recipe/history`, as the journal, the registry and the report name it."""
    return f"{recipe}/{history}"


def parse_recipe(name: str) -> tuple[str, HistoryKind]:
    """The recipe and the history of a candidate's name; raises ModelError for another text."""
    recipe, _, history = name.partition("/")
    if not recipe or history not in get_args(HistoryKind):
        raise ModelError(
            where="recipe",
            wanted=f"NAME/{'|'.join(get_args(HistoryKind))}",
            got=repr(name),
            then="check the version's recipe tag",
        )
    return recipe, cast(HistoryKind, history)


def recency_weights(
    ages_in_windows: Sequence[float] | NDArray[Any], half_life: float
) -> NDArray[np.float64]:
    """Weights by age, shape (n,): 1 for the newest window, halved every `half_life` windows."""
    return np.asarray(np.power(0.5, np.asarray(ages_in_windows, dtype=float) / half_life))


def fit(
    recipe: Recipe | str,
    frame: pd.DataFrame,
    labels: NDArray[np.integer[Any]],
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    weights: NDArray[np.floating[Any]] | None = None,
    seed: int,
    classes: Sequence[str] | None = None,
    most_values: int | None = None,
) -> Any:
    """Fit a recipe, or a learner by name, on a prepared frame.

    The same arguments give the same pipeline.

    `predict_proba` has a column for each label 0..k-1, in order. `weights` (n,) are relative: they
    are scaled to mean 1, so that their size does not change the regularisation. `classes` names the
    classes, so that a class without rows is noticed; without it only a gap in the numbers is.
    `most_values` limits the matrix that a learner of ours gets: rows times columns, of which each
    category has one; beyond it only the most frequent categories have. Raises ModelError when a
    class has no rows, there is no column, or the learner fails.
    """
    labels = np.asarray(labels)
    _refuse_missing_classes(labels, classes)
    if isinstance(recipe, str):
        recipe = Recipe(recipe)  # type: ignore[arg-type]  # baseline, which is ours, too
    learner = str(recipe.estimator or recipe.learner)
    if not numeric and not categorical:
        raise ModelError(
            where=f"recipe {learner}",
            wanted="at least one column",
            got="none",
            then="add one to [columns] of loop.toml",
        )
    scaled = None if weights is None else _scaled(weights, len(labels))
    if recipe.estimator is not None:
        known = classes or tuple(map(str, range(1 + int(labels.max()))))
        pipeline = build_estimator(recipe, numeric, categorical, known, seed)
    else:
        from sklearn.pipeline import Pipeline

        has_empty = bool(frame[list(numeric)].isna().all().any())
        most = None if most_values is None else most_values // len(frame) - len(numeric)
        kept = None if most is None else choose_categories(frame, categorical, max(1, most))
        pipeline = Pipeline(
            [
                ("columns", _columns(learner, numeric, categorical, has_empty, kept)),
                ("model", make_learner(learner, recipe.parameters, len(labels), seed)),
            ]
        )
    fitting = fitting_arguments(recipe, pipeline, scaled)
    rows = frame[[*numeric, *categorical]]
    try:
        # On few rows, threads mostly wait for one another, and not every learner can be told.
        threads = 1 if len(labels) < FEW_ROWS else THREADS.get()
        with threadpool_limits(None if threads < 0 else threads, user_api="openmp"):
            fitted = pipeline.fit(rows, labels, **fitting)
        if recipe.estimator is not None:
            check_answers(recipe, fitted, rows, len(known))
        return fitted
    except ModelError:
        raise
    except Exception as error:  # each learner has errors of its own
        raise ModelError(
            where=f"recipe {learner}",
            wanted="rows and parameters that the learner can fit",
            got=f"{type(error).__name__}: {error}",
            then="check the parameters of the recipe, and the columns in loop.toml",
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
    learner: str,
    numeric: Sequence[str],
    categorical: Sequence[str],
    has_empty: bool,
    kept: list[list[str]] | None,
) -> Any:
    """Boosted trees split on nulls; the others need them filled, and logistic regression scaled.

    Scikit-learn's boosted trees need them filled, too, when a column has no values at all.

    `kept` are the categories that count, None for all. `keep_empty_features`: a column that is all
    null today keeps its place, because tomorrow's rows may have values.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    numbers: Any = "passthrough"
    if learner == "logistic":
        numbers = make_pipeline(filled, StandardScaler())
    elif learner in ("baseline", "random_forest") or (
        learner == "hist_gradient_boosting" and has_empty
    ):
        numbers = filled
    steps = [("numeric", numbers, list(numeric))] if numeric else []
    if categorical:
        # Dense, so that the learners and ONNX get the same kind of matrix whatever the data.
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        if kept is not None:
            encoder.set_params(categories=[np.array(values, dtype=object) for values in kept])
        steps.append(("categorical", encoder, list(categorical)))
    return ColumnTransformer(steps)
