"""A proved bundle: proved with its own files, loaded without pandas or scikit-learn, refused when
anything of it is amiss."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from closedloop.bundle.files import (
    MODEL_FILE,
    ONNX_FILE,
    PROOF_FILE,
    Facts,
    Proof,
    model_digest,
    read_proof,
)
from closedloop.bundle.onnx_model import SERVED_TOLERANCE, ServedModel, load_served
from closedloop.bundle.onnx_proof import make_awkward_rows, make_split_rows, pack_frame, prove
from closedloop.bundle.skops_model import PackedPipeline, read_bundle, write_facts
from closedloop.errors import ModelError
from closedloop.training.recipes import fit
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.contract_check import MISSING

CONTENT: dict[str, Any] = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "plan": {"type": "categorical"},
        "spend": {"type": "numeric"},
        "visits": {"type": "numeric"},
    },
}
USE_CASE = parse_use_case(CONTENT, Path("loop.toml"))
FACTS = Facts(
    "shop", "a key", "lightgbm/all", ("False", "True"), ("w0",), "w1", 0.7, {}, CONTENT, 300, "ab"
)
NUMERIC, CATEGORICAL = USE_CASE.numeric, USE_CASE.categorical


def rows(seed: int, count: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"plan": pd.Series(draw.choice(["basic", "gold", MISSING], count), dtype=object)}
    )
    table["spend"], table["visits"] = (
        draw.normal(50, 20, count),
        draw.poisson(3, count).astype(float),
    )
    table.loc[::17, "spend"] = np.nan
    return table


def labels_of(table: pd.DataFrame) -> np.ndarray:
    return (
        (table["spend"].fillna(0) + 5 * table["visits"] > 60) ^ (table["plan"] == "gold")
    ).to_numpy(dtype=int)


def fit_pipeline(recipe: Any = "lightgbm") -> Any:
    return fit(
        recipe, rows(1), labels_of(rows(1)), numeric=NUMERIC, categorical=CATEGORICAL, seed=7
    )


def pack(
    folder: Path, pipeline: Any, judged: pd.DataFrame | None = None, limit: float = 1e-5
) -> Proof:
    folder.mkdir()
    skops.io.dump(pipeline, folder / MODEL_FILE)
    write_facts(folder, FACTS, rows(2, 40), pipeline.predict_proba(rows(2, 40)), rows(3, 50))
    return prove(folder, pipeline, rows(4) if judged is None else judged, USE_CASE, limit)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "good"
    assert pack(folder, fit_pipeline()).served_by == "onnx"
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


@pytest.mark.parametrize("recipe", ["logistic", "lightgbm", "baseline"])
def test_a_proved_bundle_says_so_and_answers_like_its_pipeline(tmp_path: Path, recipe: str) -> None:
    """The proof is in the folder, names its rows and its difference, and the model read back gives
    the pipeline's answers on new rows."""
    pipeline = fit_pipeline(recipe)
    proof = pack(tmp_path / "bundle", pipeline)
    assert proof == read_proof(tmp_path / "bundle")
    assert (proof.served_by, proof.reason) == ("onnx", "")
    assert proof.difference is not None
    assert proof.difference < 1e-6
    assert proof.rows > len(rows(4)) + 20
    assert read_bundle(tmp_path / "bundle").served_by == "onnx"
    model = load_served(tmp_path / "bundle")
    assert (
        np.abs(
            model.probabilities(*pack_frame(rows(9), NUMERIC, CATEGORICAL))
            - pipeline.predict_proba(rows(9))
        ).max()
        < 1e-6
    )
    assert model.measure_self_test() < 1e-6
    assert (model.facts, model.numeric, model.categorical, model.classes) == (
        FACTS,
        NUMERIC,
        CATEGORICAL,
        FACTS.classes,
    )


def test_trees_are_tried_where_they_part_rows() -> None:
    """Each threshold gives itself and its neighbours on both sides, in a row that is real but for
    that number."""
    table = rows(4, 10)
    tried = make_split_rows(table, NUMERIC, {1: (2.5, 0.1)})
    assert list(tried["visits"][:3]) == [2.5, np.nextafter(2.5, np.inf), np.nextafter(2.5, -np.inf)]
    assert {float(np.float32(0.1)), float(np.nextafter(np.float32(0.1), np.float32(0)))} <= set(
        tried["visits"]
    )
    assert list(tried["plan"]) == list(table["plan"])
    pd.testing.assert_series_equal(tried["spend"], table["spend"])


def test_awkward_rows_hold_what_training_did_not() -> None:
    """There is a row that is null throughout, one with a category never seen, and numbers beyond
    float32's digits."""
    tried = make_awkward_rows(rows(4), NUMERIC, CATEGORICAL)
    assert (tried[["spend", "visits"]].isna().all(axis=1) & (tried["plan"] == MISSING)).any()
    assert (tried["plan"] == "(never seen)").any()
    assert {2.0**24 + 1, 1e6, -1e6, 0.0} <= set(tried["visits"])


class Unsure:
    """A fitted pipeline whose answers are not those that its parts would give."""

    def __init__(self, pipeline: Any, shift: float) -> None:
        self.steps, self._pipeline, self._shift = pipeline.steps, pipeline, shift

    def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
        return np.asarray(self._pipeline.predict_proba(table)) + self._shift


def test_a_model_that_answers_otherwise_is_not_kept(written: Path, tmp_path: Path) -> None:
    """Two in a hundred thousand is too much: the ONNX model is removed, the proof says how far off
    it was, the pipeline serves."""
    folder = Path(shutil.copytree(written, tmp_path / "bundle"))
    proof = prove(folder, Unsure(fit_pipeline(), 2e-5), rows(4), USE_CASE, 1e-5)
    assert proof.served_by == "pipeline"
    assert proof.difference == pytest.approx(2e-5, rel=0.01)
    assert "differs by 2e-05" in proof.reason
    assert not (folder / ONNX_FILE).exists()
    with pytest.raises(ModelError, match="differs by"):
        load_served(folder)


def test_answers_that_are_no_numbers_prove_nothing(written: Path, tmp_path: Path) -> None:
    """NaN is not within any limit, and the proof can still be written and read."""
    folder = Path(shutil.copytree(written, tmp_path / "bundle"))
    assert (
        prove(folder, Unsure(fit_pipeline(), float("nan")), rows(4), USE_CASE, 1.0).served_by
        == "pipeline"
    )
    assert read_proof(folder).difference is None


def test_a_pipeline_that_cannot_be_converted_is_served_itself(tmp_path: Path) -> None:
    """The proof names the learner; the bundle reads, and answers packed rows in the place of an
    ONNX model."""
    columns = ColumnTransformer([("numeric", "passthrough", list(NUMERIC))])
    pipeline = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=3)).fit(
        rows(1)[list(NUMERIC)], labels_of(rows(1))
    )
    folder = tmp_path / "bundle"
    proof = pack(folder, pipeline)
    assert proof.served_by == "pipeline"
    assert "HistGradientBoostingClassifier" in proof.reason
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MODEL_FILE, "facts.json", "self_test.json", "reference.parquet", PROOF_FILE]
    )


def test_the_pipeline_takes_the_place_of_the_model(folder: Path) -> None:
    """Asked with the same arrays it gives the same answers, under the same names."""
    model, packed = load_served(folder), PackedPipeline(read_bundle(folder))
    arrays = pack_frame(make_awkward_rows(rows(9), NUMERIC, CATEGORICAL), NUMERIC, CATEGORICAL)
    assert np.abs(model.probabilities(*arrays) - packed.probabilities(*arrays)).max() < 1e-6
    for name in ("facts", "numeric", "categorical", "classes"):
        assert getattr(model, name) == getattr(packed, name)
    assert (model.served_by, packed.served_by) == ("onnx", "pipeline")
    assert packed.measure_self_test() == 0.0


def test_no_rows_prove_nothing(tmp_path: Path) -> None:
    """A model that was tried on nothing is not served."""
    proof = pack(tmp_path / "bundle", fit_pipeline(), judged=rows(4, 0))
    assert (proof.served_by, proof.reason) == ("pipeline", "there were no rows to try it on")


def test_rows_are_packed_as_they_are_prepared(folder: Path) -> None:
    """None, an absent column, NaN and infinity are null; the arrays have the order of the contract
    whatever that of the row is."""
    model = load_served(folder)
    numbers, texts = model.pack(
        [
            {"visits": 2, "spend": 1.5, "plan": "gold"},
            {"spend": None},
            {"spend": float("inf"), "plan": None},
        ]
    )
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [[1.5, 2.0], [np.nan, np.nan], [np.nan, np.nan]])
    assert texts.tolist() == [["gold"], [MISSING], [MISSING]]
    assert model.probabilities(*model.pack([])).shape == (0, 2)


def test_single_precision_numbers_are_taken(folder: Path) -> None:
    """Arrays of float32, in any memory order, are answered like the same numbers in float64."""
    model = load_served(folder)
    numbers, texts = pack_frame(rows(9), NUMERIC, CATEGORICAL)
    single = np.asfortranarray(numbers.astype(np.float32))
    np.testing.assert_array_equal(
        model.probabilities(single, texts), model.probabilities(single.astype(float), texts)
    )


@pytest.mark.parametrize("text", ["\ud800", "gold\0", "\0", "g\ud800old", "x" * 100_000], ids=ascii)
def test_any_text_is_an_unseen_category(folder: Path, text: str) -> None:
    """What JSON can spell and a file cannot, or what ends a string in C, is answered like any
    category never seen."""
    model = load_served(folder)
    asked, unseen = (
        model.pack([{"spend": 3.0, "visits": 1.0, "plan": plan}, {"plan": "gold"}])
        for plan in (text, "(never seen)")
    )
    np.testing.assert_array_equal(model.probabilities(*asked), model.probabilities(*unseen))


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        (np.zeros((2, 3)), np.full((2, 1), "a", object)),
        (np.zeros((2, 2)), np.full((1, 1), "a", object)),
        (np.zeros(2), np.full((2, 1), "a", object)),
        (np.zeros((1, 2)), np.zeros((1, 1))),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused(
    folder: Path, numbers: np.ndarray, texts: np.ndarray
) -> None:
    """The error says what shape was wanted; nothing of the runtime leaks out."""
    with pytest.raises(ModelError, match=r"numbers \(n, 2\) and texts \(n, 1\)"):
        load_served(folder).probabilities(numbers, texts)


def test_one_model_is_asked_by_many_threads(folder: Path) -> None:
    """Eight threads that ask one model at once get the answers that each would get alone."""
    model = load_served(folder)
    arrays = [pack_frame(rows(seed, 20), NUMERIC, CATEGORICAL) for seed in range(40)]
    alone = [model.probabilities(*one) for one in arrays]
    with ThreadPoolExecutor(8) as pool:
        for ours, theirs in zip(
            pool.map(lambda one: model.probabilities(*one), arrays * 5), alone * 5, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_another_model_fails_the_self_test(folder: Path, tmp_path: Path) -> None:
    """A file replaced by another, well-made one shows in the answers that were kept, and in the
    digest."""
    pack(tmp_path / "other", fit_pipeline("logistic"))
    before = model_digest(folder)
    shutil.copy(tmp_path / "other" / ONNX_FILE, folder / ONNX_FILE)
    assert load_served(folder).measure_self_test() > SERVED_TOLERANCE
    assert model_digest(folder) != before


def _write(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def _edit(name: str, **changes: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(
        json.dumps({**json.loads((folder / name).read_text()), **changes})
    )


NAMES = (ONNX_FILE, "facts.json", "self_test.json", PROOF_FILE)


@pytest.mark.parametrize(
    "harm",
    [
        *(_write(name, lambda content: content[: len(content) // 2]) for name in NAMES),
        *(_write(name, lambda content: b"") for name in NAMES),
        *(lambda folder, name=name: (folder / name).unlink() for name in NAMES),
        _edit("facts.json", classes=["one", "of", "three"]),
        _edit(PROOF_FILE, served_by="chance"),
        _edit(PROOF_FILE, surprise=1),
        _edit("facts.json", use_case={**CONTENT, "columns": {"spend": {"type": "numeric"}}}),
        shutil.rmtree,
    ],
)
def test_a_damaged_bundle_is_a_model_error(folder: Path, harm: Callable[[Path], object]) -> None:
    """Whatever is cut short, emptied, missing or made up becomes one error that says what to do."""
    harm(folder)
    with pytest.raises(ModelError) as caught:
        load_served(folder)
    assert caught.value.then


def test_serving_loads_none_of_the_heavy_libraries(folder: Path) -> None:
    """A process that loads a bundle and answers has neither pandas nor scikit-learn, MLflow, skops
    or onnx in memory."""
    script = (
        "import sys; from pathlib import Path; from closedloop.bundle.onnx_model import load_served\n"
        f"model = load_served(Path({str(folder)!r})); model.probabilities(*model.pack([{{}}])); assert model.measure_self_test() < 1e-6\n"
        "heavy = ('pandas', 'sklearn', 'scipy', 'mlflow', 'skops', 'onnx', 'lightgbm', 'evidently')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_model_is_what_its_class_says(folder: Path) -> None:
    """`load_served` gives a ServedModel only for a bundle whose proof says so: an unproved one
    names the reason."""
    assert isinstance(load_served(folder), ServedModel)
    (folder / PROOF_FILE).unlink()
    assert read_bundle(folder).served_by == "pipeline"
    with pytest.raises(ModelError, match="without a proof"):
        load_served(folder)
