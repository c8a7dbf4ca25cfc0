"""The proof that an ONNX model answers like its pipeline: with the files that will answer, where
answers are likeliest to differ."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline

from closedloop.bundle.files import MODEL_FILE, ONNX_FILE, PROOF_FILE, read_proof
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import load_version
from closedloop.bundle.onnx_proof import make_awkward_rows, make_split_rows, prove
from closedloop.use_case.contract import MISSING
from tests.unit.bundle.shop import (
    CATEGORICAL,
    NUMERIC,
    USE_CASE,
    fit_pipeline,
    labels_of,
    rows,
    write_bundle,
    write_proved,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "good", fit_pipeline())


@pytest.mark.parametrize("recipe", ["logistic", "lightgbm", "baseline"])
def test_a_proved_bundle_says_so_and_answers_like_its_pipeline(tmp_path: Path, recipe: str) -> None:
    """The proof is in the folder, names its rows and its difference, and the model read back gives
    the pipeline's answers on new rows."""
    pipeline = fit_pipeline(recipe)
    proof = write_proved(tmp_path / "bundle", pipeline)
    assert proof == read_proof(tmp_path / "bundle")
    assert (proof.served_by, proof.reason) == ("onnx", "")
    assert proof.difference is not None
    assert proof.difference < 1e-6
    assert proof.rows > len(rows(4)) + 20
    version = load_version(tmp_path / "bundle")
    assert (version.proof, version.scorer.served_by) == (proof, "onnx")
    answers = score_frame(version.scorer, rows(9))
    assert np.abs(answers - pipeline.predict_proba(rows(9))).max() < 1e-6


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
    assert load_version(folder).scorer.served_by == "pipeline"


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
    pipeline = make_pipeline(columns, ExtraTreesClassifier(3)).fit(
        rows(1)[list(NUMERIC)], labels_of(rows(1))
    )
    folder = tmp_path / "bundle"
    proof = write_proved(folder, pipeline)
    assert proof.served_by == "pipeline"
    assert "ExtraTreesClassifier" in proof.reason
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MODEL_FILE, "facts.json", "self_test.json", "reference.parquet", PROOF_FILE]
    )


def test_no_rows_prove_nothing(tmp_path: Path) -> None:
    """A model that was tried on nothing is not served."""
    proof = write_proved(tmp_path / "bundle", fit_pipeline(), judged=rows(4, 0))
    assert (proof.served_by, proof.reason) == ("pipeline", "there were no rows to try it on")
