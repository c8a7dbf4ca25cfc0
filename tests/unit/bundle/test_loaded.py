"""A loaded version knows what it is, repeats its self-test, and is refused when it is damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from closedloop.bundle.files import MODEL_FILE, ONNX_FILE, PROOF_FILE, model_digest
from closedloop.bundle.frames import measure_difference
from closedloop.bundle.loaded import load_version, load_with_pipeline
from closedloop.bundle.onnx_model import ONNX_TOLERANCE, OnnxScorer
from closedloop.bundle.skops_model import SELF_TEST_TOLERANCE, PipelineScorer
from closedloop.errors import ModelError
from tests.unit.bundle.shop import (
    CONTENT,
    FACTS,
    USE_CASE,
    fit_pipeline,
    rows,
    write_bundle,
    write_proved,
)

COLUMNS = list(USE_CASE.columns)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "good"
    assert write_proved(folder, fit_pipeline()).served_by == "onnx"
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


@pytest.mark.parametrize("load", [load_version, load_with_pipeline])
def test_what_is_known_of_a_model_travels_with_it(folder: Path, load: Any) -> None:
    """Facts, contract, self-test rows and the reference come back as they were written, whatever
    answers."""
    version = load(folder)
    assert version.facts == FACTS
    assert version.use_case.target.classes == FACTS.classes
    assert list(version.use_case.columns) == list(version.example) == COLUMNS
    first = rows(2, 40).iloc[0].to_dict()
    assert version.example == {**first, "spend": None}
    tested = pd.DataFrame(version.self_test.rows).astype(rows(2).dtypes)
    pd.testing.assert_frame_equal(tested, rows(2, 40))
    pd.testing.assert_frame_equal(version.reference()[COLUMNS], rows(3, 50), check_dtype=False)
    assert version.reference()["(prediction)"].isna().all()


def test_the_proof_names_what_answers(folder: Path) -> None:
    """ONNX where the proof says so, the pipeline on demand and where there is no proof; both give
    the same answers to the same rows."""
    proved, pipeline = load_version(folder), load_with_pipeline(folder)
    assert isinstance(proved.scorer, OnnxScorer)
    assert isinstance(pipeline.scorer, PipelineScorer)
    assert (proved.scorer.served_by, pipeline.scorer.served_by) == ("onnx", "pipeline")
    assert measure_difference(proved.scorer, pipeline.scorer, rows(9)) < 1e-6
    (folder / PROOF_FILE).unlink()
    unproved = load_version(folder)
    assert isinstance(unproved.scorer, PipelineScorer)
    assert unproved.proof.reason == "the bundle was packed without a proof"


@pytest.mark.parametrize("load", [load_version, load_with_pipeline])
def test_the_self_test_is_repeated(folder: Path, load: Any) -> None:
    """What was just written gives the answers of the fitted pipeline; answers kept in another order
    of classes show."""
    version = load(folder)
    assert version.measure_self_test() <= version.scorer.self_test_tolerance
    turned = replace(version.self_test, answers=version.self_test.answers[:, ::-1])
    assert replace(version, self_test=turned).measure_self_test() > 0.01


def test_another_model_fails_the_self_test(folder: Path, tmp_path: Path) -> None:
    """A model file that was replaced by another, well-made one is noticed by the answers that were
    kept, and by the digest."""
    write_proved(tmp_path / "other", fit_pipeline("logistic"))
    before = model_digest(folder)
    for name in (ONNX_FILE, MODEL_FILE):
        shutil.copy(tmp_path / "other" / name, folder / name)
    assert load_version(folder).measure_self_test() > ONNX_TOLERANCE
    assert load_with_pipeline(folder).measure_self_test() > 0.01
    assert model_digest(folder) != before


def test_a_coefficient_that_is_off_by_one_in_a_million_fails_the_self_test(tmp_path: Path) -> None:
    """The self-test of a pipeline is exact."""
    pipeline = fit_pipeline("logistic")
    folder = write_bundle(tmp_path / "bundle", pipeline)
    pipeline[-1].coef_ *= 1 + 1e-6
    skops.io.dump(pipeline, folder / MODEL_FILE)
    assert load_with_pipeline(folder).measure_self_test() > SELF_TEST_TOLERANCE


class Broken:
    """A model whose answers are of the given kind."""

    def __init__(self, answers: Callable[[int], np.ndarray]) -> None:
        self.answers = answers

    def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
        return self.answers(len(table))


@pytest.mark.parametrize(
    "answers",
    [
        lambda count: np.full((count, 2), np.nan),
        lambda count: np.full((count, 3), 1 / 3),
        lambda count: np.full((count, 1), 1.0),
    ],
    ids=["not a number", "a class too many", "a class too few"],
)
def test_answers_that_cannot_be_compared_are_infinitely_far_off(
    folder: Path, answers: Callable[[int], np.ndarray]
) -> None:
    """No limit lets them pass, neither in a self-test nor on either side of a comparison."""
    version = load_with_pipeline(folder)
    broken = PipelineScorer(Broken(answers), USE_CASE.numeric, USE_CASE.categorical)
    assert replace(version, scorer=broken).measure_self_test() == float("inf")
    assert measure_difference(broken, version.scorer, rows(9)) == float("inf")
    assert measure_difference(version.scorer, broken, rows(9)) == float("inf")


def test_no_rows_show_no_difference(tmp_path: Path) -> None:
    """A bundle without self-test rows loads, has no example and differs from nothing."""
    version = load_version(write_bundle(tmp_path / "bundle", fit_pipeline(), tested=rows(2, 0)))
    assert version.measure_self_test() == 0.0
    assert version.example is None
    assert measure_difference(version.scorer, version.scorer, rows(2, 0)) == 0.0


def write(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def edit(name: str, **changes: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(
        json.dumps({**json.loads((folder / name).read_text()), **changes})
    )


def damages(model_file: str) -> list[Any]:
    names = (model_file, "facts.json", "self_test.json", PROOF_FILE)
    return [
        *(write(name, lambda content: content[: len(content) // 2]) for name in names),
        *(write(name, lambda content: b"") for name in names),
        *(lambda folder, name=name: (folder / name).unlink() for name in names[:3]),
        write("self_test.json", lambda content: content.replace(b'"answers"', b'"replies"')),
        edit(PROOF_FILE, served_by="chance"),
        edit(PROOF_FILE, milliseconds="<script>"),
        edit(PROOF_FILE, surprise=1),
        edit("facts.json", surprise=1),
        edit("facts.json", classes=["two", "of", "three"]),
        edit("facts.json", use_case={"name": "shop"}),
        shutil.rmtree,
    ]


@pytest.mark.parametrize(
    ("load", "harm"),
    [
        *((load_version, harm) for harm in damages(ONNX_FILE)),
        (
            load_version,
            edit("facts.json", use_case={**CONTENT, "columns": {"spend": {"type": "numeric"}}}),
        ),
        *((load_with_pipeline, harm) for harm in damages(MODEL_FILE)),
        (load_with_pipeline, write(MODEL_FILE, lambda content: content.replace(b"PK", b"KP"))),
    ],
)
def test_a_damaged_bundle_is_a_model_error(
    folder: Path, load: Any, harm: Callable[[Path], object]
) -> None:
    """Whatever is cut short, emptied, missing or made up becomes one error that names the bundle
    and what to do."""
    harm(folder)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.where
    assert caught.value.then


def test_serving_loads_none_of_the_heavy_libraries(folder: Path) -> None:
    """A process that loads a proved bundle and answers has neither pandas nor scikit-learn, MLflow,
    skops or onnx in memory."""
    script = (
        "import sys; from pathlib import Path\n"
        "from closedloop.bundle.loaded import load_version\n"
        f"version = load_version(Path({str(folder)!r}))\n"
        "assert version.measure_self_test() < 1e-6\n"
        "heavy = 'pandas sklearn scipy mlflow skops onnx lightgbm evidently'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
