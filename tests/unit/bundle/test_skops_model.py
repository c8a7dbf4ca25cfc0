"""A fitted pipeline, written and read back: the same answers, and nothing foreign is rebuilt."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from closedloop.bundle.files import MODEL_FILE
from closedloop.bundle.frames import measure_difference, score_frame
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.bundle.skops_model import (
    SELF_TEST_TOLERANCE,
    TRUSTED_TYPES,
    PipelineScorer,
    dump_pipeline,
    load_pipeline,
)
from closedloop.errors import ModelError
from closedloop.use_case.recipe import LEARNERS
from tests.unit.bundle.shop import CATEGORICAL, NUMERIC, fit_pipeline, rows, write_bundle

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", fit_pipeline("logistic"))


@pytest.mark.parametrize("recipe", [*LEARNERS, "baseline"])
def test_the_pipeline_answers_as_the_fitted_one_did(tmp_path: Path, recipe: str) -> None:
    """Each recipe is written, read back without pickle, and gives the very same probabilities on
    new rows, its self-test included; two fits are the same bytes where they are dumped so."""
    fitted = PipelineScorer(fit_pipeline(recipe), NUMERIC, CATEGORICAL)
    version = load_with_pipeline(write_bundle(tmp_path / "bundle", fitted.pipeline))
    assert measure_difference(version.scorer, fitted, rows(9)) == 0.0
    assert version.measure_self_test() <= SELF_TEST_TOLERANCE
    content = dump_pipeline(fitted.pipeline)
    if recipe != "catboost":  # which writes the time of the training into its model
        assert content == dump_pipeline(fit_pipeline(recipe)), "addresses or times are in it"
    loaded = PipelineScorer(load_pipeline(content), NUMERIC, CATEGORICAL)
    assert measure_difference(loaded, fitted, rows(9)) == 0.0
    expected = fitted.pipeline.predict_proba(rows(9))
    np.testing.assert_allclose(score_frame(fitted, rows(9)), expected, rtol=0, atol=1e-12)


def test_columns_are_taken_by_name(folder: Path) -> None:
    """Rows whose columns come in another order, with more of them, get the same answers."""
    scorer = load_with_pipeline(folder).scorer
    shuffled = rows(9).assign(left="True")[["left", "visits", "plan", "spend"]]
    assert np.array_equal(score_frame(scorer, shuffled), score_frame(scorer, rows(9)))


@pytest.mark.parametrize(
    "function", [os.system, os.getcwd, eval], ids=["os.system", "os.getcwd", "eval"]
)
def test_a_file_that_would_run_something_is_refused_unread(folder: Path, function: Any) -> None:
    """A pipeline with a foreign function inside names it in the error; it is not rebuilt."""
    skops.io.dump(make_pipeline(FunctionTransformer(function), fit_pipeline()), folder / MODEL_FILE)
    with pytest.raises(ModelError, match="only types of the learners") as caught:
        load_with_pipeline(folder)
    assert function.__name__ in caught.value.got


class Foreign:
    """A type that is on no list."""


def test_a_type_of_our_own_making_is_refused(folder: Path) -> None:
    """A class that nobody put on the list is not imported, though it is on the path."""
    pipeline = fit_pipeline()
    pipeline.extra = Foreign()
    skops.io.dump(pipeline, folder / MODEL_FILE)
    with pytest.raises(ModelError, match="Foreign"):
        load_with_pipeline(folder)


def test_a_pickle_is_refused(folder: Path) -> None:
    """A file that only a pickle reader understands is no bundle."""
    (folder / MODEL_FILE).write_bytes(pickle.dumps(fit_pipeline()))
    with pytest.raises(ModelError):
        load_with_pipeline(folder)


def test_a_lambda_cannot_be_packaged_at_all() -> None:
    """skops itself refuses to write what could not be read without running code from the file."""
    with pytest.raises(Exception, match="lambda"):
        skops.io.loads(
            skops.io.dumps(FunctionTransformer(lambda frame: frame)), trusted=list(TRUSTED_TYPES)
        )


@pytest.mark.parametrize("recipe", [*LEARNERS, "baseline"])
def test_every_recipe_is_made_of_trusted_types(recipe: str) -> None:
    """A pipeline of ours needs no type that is not on the list."""
    content = skops.io.dumps(fit_pipeline(recipe))
    assert set(skops.io.get_untrusted_types(data=content)) <= set(TRUSTED_TYPES)
