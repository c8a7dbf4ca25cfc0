"""The ONNX model answers like the pipeline it was made of: to the last digit of float32, wherever
an answer may jump."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from closedloop.bundle.frames import pack_frame
from closedloop.bundle.onnx_graph import convert, find_split_points
from closedloop.bundle.onnx_proof import make_awkward_rows, make_split_rows
from closedloop.errors import ModelError
from closedloop.training.recipes import fit
from closedloop.use_case.contract import MISSING
from closedloop.use_case.recipe import Recipe

pytestmark = pytest.mark.slow
NEAR = 1e-6
RECIPES = ["logistic", "lightgbm", "hist_gradient_boosting", "random_forest", "baseline"]
FEW_TREES: dict[Any, dict[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 20},
    "random_forest": {"n_estimators": 10},
}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Learners warn of columns without values and of unseen categories, which these tests are full
    of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def frame(draw: np.random.Generator, rows: int, numeric: int, categorical: int) -> pd.DataFrame:
    """Columns of many kinds: money, counts, large ids, tiny shares, constant, empty, with nulls;
    categories with odd spellings."""
    kinds = [
        lambda: draw.normal(50, 20, rows),
        lambda: draw.poisson(3, rows).astype(float),
        lambda: draw.lognormal(0, 3, rows),
        lambda: 1.7e9 + draw.integers(0, 10_000, rows),
        lambda: draw.normal(0, 1e-9, rows),
        lambda: np.full(rows, 7.0),
        lambda: np.full(rows, np.nan),
    ]
    found: dict[str, Any] = {}
    for place in range(numeric):
        values = np.asarray(
            kinds[place % len(kinds) if place < len(kinds) else draw.integers(len(kinds))](),
            dtype=float,
        )
        values[draw.random(rows) < draw.choice([0.0, 0.2])] = np.nan
        found[f"n{place}"] = values
    for place in range(categorical):
        choices = [
            ["a", "b", MISSING],
            ["", "gold card", "größe", "1"],
            ["only"],
            [f"c{place}" for place in range(40)],
        ][place % 4]
        found[f"c{place}"] = pd.Series(draw.choice(choices, rows), dtype=object)
    return pd.DataFrame(found)


def case(
    seed: int, recipe: Any, classes: int, numeric: int, categorical: int, rows: int = 300
) -> tuple[Any, pd.DataFrame, list[str], list[str]]:
    draw = np.random.default_rng(seed)
    table = frame(draw, rows, numeric, categorical)
    score = draw.normal(0, 0.5, rows)
    for name in table:
        codes = (
            table[name].rank()
            if table[name].dtype != object
            else pd.Series(pd.factorize(table[name])[0], dtype=float)
        )
        score = score + draw.normal() * np.nan_to_num(
            ((codes - codes.mean()) / (codes.std() or 1)).to_numpy()
        )
    labels = np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))
    names = [f"n{place}" for place in range(numeric)], [f"c{place}" for place in range(categorical)]
    if recipe in FEW_TREES:
        recipe = Recipe(recipe, FEW_TREES[recipe])
    return fit(recipe, table, labels, numeric=names[0], categorical=names[1], seed=7), table, *names


def ask(
    content: bytes, rows: pd.DataFrame, numeric: list[str], categorical: list[str]
) -> np.ndarray:
    session = onnxruntime.InferenceSession(content)
    numbers, texts = pack_frame(rows, numeric, categorical)
    given = {"numbers": numbers, "texts": texts}
    return np.asarray(
        session.run(
            ["probabilities"], {tensor.name: given[tensor.name] for tensor in session.get_inputs()}
        )[0]
    )


def distance(pipeline: Any, tried: pd.DataFrame, numbers: list[str], texts: list[str]) -> float:
    """Largest difference between the pipeline's answers and its ONNX model's."""
    answers = ask(convert(pipeline, numbers, texts), tried, numbers, texts)
    return float(np.abs(answers - pipeline.predict_proba(tried)).max())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("numeric", "categorical"), [(7, 4), (7, 0), (0, 3), (1, 0), (0, 1)])
def test_the_model_answers_like_the_pipeline(
    recipe: str, classes: int, numeric: int, categorical: int
) -> None:
    """Each recipe with two and three classes, with columns of one kind only, on rows it knows and
    on awkward ones."""
    pipeline, table, numbers, texts = case(3, recipe, classes, numeric, categorical)
    tried = pd.concat([table, make_awkward_rows(table, numbers, texts)], ignore_index=True)
    answers = ask(convert(pipeline, numbers, texts), tried, numbers, texts)
    assert answers.shape == (len(tried), classes)
    assert answers.dtype == np.float32
    assert np.abs(answers - pipeline.predict_proba(tried)).max() < NEAR


@pytest.mark.slow
@pytest.mark.parametrize(
    "group",
    [*range(4), *(pytest.param(group, marks=pytest.mark.nightly) for group in range(4, 10))],
)
def test_pipelines_of_chance(group: int) -> None:
    """Whatever columns, classes, rows and recipe: twenty pipelines a group, each on its rows, on
    awkward rows and at its splits."""
    for seed in range(20 * group, 20 * group + 20):
        draw = np.random.default_rng(seed)
        numeric, categorical = int(draw.integers(0, 9)), int(draw.integers(0, 5))
        chosen = (
            RECIPES[seed % len(RECIPES)],
            int(draw.integers(2, 5)),
            max(numeric, int(categorical == 0)),
            categorical,
            int(draw.integers(60, 250)),
        )
        pipeline, table, numbers, texts = case(seed, *chosen)
        points = {
            place: values[:3] for place, values in find_split_points(pipeline, numbers).items()
        }
        tried = pd.concat(
            [
                table,
                make_awkward_rows(table, numbers, texts),
                make_split_rows(table, numbers, points),
            ],
            ignore_index=True,
        )
        assert distance(pipeline, tried, numbers, texts) < NEAR, f"seed {seed}: {chosen}"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("classes", [2, 3])
def test_split_points_are_exact(classes: int, dtype: Any) -> None:
    """At every threshold of every tree, and at the numbers next to it, float64 and float32 alike,
    no row takes another turn."""
    pipeline, table, numbers, texts = case(5, "lightgbm", classes, 5, 2, rows=600)
    points = find_split_points(pipeline, numbers)
    assert sum(len(values) for values in points.values()) > 100
    tried = make_split_rows(table, numbers, points)
    tried[numbers] = tried[numbers].astype(dtype).astype(float)
    assert distance(pipeline, tried, numbers, texts) < NEAR


def test_a_threshold_rounded_to_float32_would_be_noticed() -> None:
    """The split rows do tell: a model whose thresholds lost their last digits answers some of them
    differently."""
    import onnx
    from onnx import helper, numpy_helper

    pipeline, table, numbers, texts = case(5, "lightgbm", 2, 5, 2, rows=600)
    model = onnx.load_from_string(convert(pipeline, numbers, texts))
    trees = next(node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor")
    thresholds = next(
        attribute for attribute in trees.attribute if attribute.name == "nodes_values_as_tensor"
    )
    rounded = numpy_helper.to_array(thresholds.t).astype(np.float32).astype(float)
    thresholds.CopyFrom(helper.make_attribute(thresholds.name, numpy_helper.from_array(rounded)))
    tried = make_split_rows(table, numbers, find_split_points(pipeline, numbers))
    answers = ask(model.SerializeToString(), tried, numbers, texts)
    assert np.abs(answers - pipeline.predict_proba(tried)).max() > 1e-5


@pytest.mark.parametrize("recipe", ["logistic", "lightgbm"])
def test_numbers_beyond_float32_keep_their_digits(recipe: Any) -> None:
    """Ids that differ by one beyond 2^24, and beyond 2^50, are as far apart for the model as for
    the pipeline."""
    for start in (2**24, 2**50):
        ids = start + np.arange(200, dtype=float)
        table = pd.DataFrame({"id": ids})
        labels = (
            (np.arange(200) // 25) % 2
            if recipe == "lightgbm"
            else (np.arange(200) > 120).astype(int)
        )
        pipeline = fit(recipe, table, labels, numeric=["id"], categorical=[], seed=1)
        assert np.ptp(pipeline.predict_proba(table)[:, 0]) > 0.5
        assert distance(pipeline, table, ["id"], []) < NEAR


def test_a_null_in_a_column_that_had_none() -> None:
    """LightGBM takes it for 0 when training knew no nulls, and sends it to its own side when it
    did: both are followed."""
    values = np.linspace(-1, 1, 200)
    for known in (values, np.where(np.arange(200) % 5 == 0, np.nan, values)):
        pipeline = fit(
            "lightgbm",
            pd.DataFrame({"x": known}),
            (values > 0.3).astype(int),
            numeric=["x"],
            categorical=[],
            seed=1,
        )
        tried = pd.DataFrame({"x": [np.nan, 0.0, -0.0, 0.5]})
        assert distance(pipeline, tried, ["x"], []) < NEAR


def test_numbers_beside_zero_take_the_turn_of_zero() -> None:
    """LightGBM takes what is nearer to 0 than 1e-35 for 0, and splits just there: both sides of
    both borders are followed."""
    values = np.repeat([-1e-30, 0.0, 1e-30], 60)
    border = float(np.float32(1e-35))
    beside = (np.nextafter(border, 0), np.nextafter(border, 1))
    near = [sign * value for sign in (1, -1) for value in (border, *beside, 5e-324, 1e-36, 2e-35)]
    tried = pd.DataFrame({"x": [0.0, -0.0, *near]})
    for positive in (values > 0, values < 0, values == 0):
        pipeline = fit(
            "lightgbm",
            pd.DataFrame({"x": values}),
            positive.astype(int),
            numeric=["x"],
            categorical=[],
            seed=1,
        )
        assert np.ptp(pipeline.predict_proba(tried)[:, 0]) > 0.5
        assert distance(pipeline, tried, ["x"], []) < NEAR


def test_the_same_pipeline_gives_the_same_bytes() -> None:
    """Nothing of the run, such as ids or a date, gets into the file."""
    first, second = (case(3, "lightgbm", 3, 4, 3) for _ in range(2))
    assert convert(first[0], first[2], first[3]) == convert(second[0], second[2], second[3])


def other_pipelines() -> dict[str, Any]:
    columns = ColumnTransformer([("numeric", StandardScaler(), ["n0"])])
    return {
        "ExtraTreesClassifier": make_pipeline(columns, ExtraTreesClassifier(2)),
        "FunctionTransformer": make_pipeline(
            ColumnTransformer([("n", FunctionTransformer(np.log1p), ["n0"])]), LogisticRegression()
        ),
        "no pipeline": LogisticRegression(),
        "another encoder": make_pipeline(
            ColumnTransformer(
                [("c", OneHotEncoder(handle_unknown="ignore", min_frequency=3), ["c0"])]
            ),
            LogisticRegression(),
        ),
        "other columns": make_pipeline(
            ColumnTransformer([("n", StandardScaler(), ["n1"])]), LogisticRegression()
        ),
        "not fitted": make_pipeline(columns, LogisticRegression()),
    }


@pytest.mark.parametrize("name", list(other_pipelines()))
def test_what_is_not_known_is_refused_with_the_reason(name: str) -> None:
    """A learner or step without nodes of its own is never guessed at: the error says what stood in
    the way."""
    table = pd.DataFrame(
        {
            "n0": np.arange(100.0),
            "n1": np.arange(100.0),
            "c0": pd.Series(["a", "b"] * 50, dtype=object),
        }
    )
    pipeline = other_pipelines()[name]
    if name == "no pipeline":
        pipeline.fit(table[["n0"]], np.arange(100) % 2)
    elif name != "not fitted":
        pipeline.fit(table, np.arange(100) % 2)
    numeric, categorical = ([], ["c0"]) if name == "another encoder" else (["n0"], [])
    with pytest.raises(ModelError, match="conversion to ONNX") as caught:
        convert(pipeline, numeric, categorical)
    if name in ("ExtraTreesClassifier", "FunctionTransformer"):
        assert name in caught.value.got
