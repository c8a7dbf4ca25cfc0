"""The bundle: what is served answers as the fitted pipeline did, and a damaged or foreign file is
refused, never run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from closedloop.bundle.files import MODEL_FILE, Facts, model_digest
from closedloop.bundle.skops_model import (
    SELF_TEST_TOLERANCE,
    TRUSTED_TYPES,
    Bundle,
    measure_difference,
    read_bundle,
    write_facts,
)
from closedloop.errors import ModelError
from closedloop.training.recipes import SERIALISED_TYPES, fit
from closedloop.windows.contract_check import MISSING

CONTENT: dict[str, Any] = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "spend": {"type": "numeric"},
        "visits": {"type": "numeric"},
        "plan": {"type": "categorical"},
    },
}
COLUMNS = ["spend", "visits", "plan"]
FACTS = Facts(
    "shop",
    "a key",
    "logistic/all",
    ("False", "True"),
    ("w0", "w1"),
    "w2",
    0.7,
    {"spend": {"median": 3.0}},
    CONTENT,
    300,
    "ab-cd",
)


def rows(seed: int, count: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"spend": draw.normal(50, 20, count), "visits": draw.poisson(3, count).astype(float)}
    )
    frame["plan"] = pd.Series(draw.choice(["basic", "gold", MISSING], count), dtype=object)
    frame.loc[::17, "spend"] = np.nan
    return frame


def fit_pipeline(recipe: Any = "logistic", seed: int = 1) -> Any:
    frame = rows(seed)
    labels = (
        (frame["spend"].fillna(0) + 5 * frame["visits"] > 60) ^ (frame["plan"] == "gold")
    ).to_numpy(dtype=int)
    return fit(recipe, frame, labels, numeric=("spend", "visits"), categorical=("plan",), seed=7)


def write_bundle(folder: Path, pipeline: Any, tested: pd.DataFrame | None = None) -> Path:
    folder.mkdir()
    skops.io.dump(pipeline, folder / MODEL_FILE)
    tested = rows(2, 40) if tested is None else tested
    answers = pipeline.predict_proba(tested) if len(tested) else np.zeros((0, 2))
    write_facts(folder, FACTS, tested, answers, rows(3, 50).assign(**{"(prediction)": np.nan}))
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "good", fit_pipeline())


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


@pytest.mark.parametrize("recipe", ["logistic", "lightgbm", "baseline"])
def test_the_bundle_answers_as_the_fitted_pipeline_did(tmp_path: Path, recipe: str) -> None:
    """Each recipe is written, read back without pickle, and gives the very same probabilities on
    new rows, its self-test included."""
    pipeline = fit_pipeline(recipe)
    bundle = read_bundle(write_bundle(tmp_path / "bundle", pipeline))
    assert measure_difference(bundle, pipeline, rows(9)) <= SELF_TEST_TOLERANCE
    assert bundle.measure_self_test() <= SELF_TEST_TOLERANCE
    assert bundle.probabilities(rows(9)).shape == (300, 2)


def test_what_is_known_of_a_model_travels_with_it(folder: Path) -> None:
    """Facts, contract, self-test rows with their nulls, and the reference come back as they were
    written."""
    bundle = read_bundle(folder)
    assert bundle.facts == FACTS
    assert bundle.use_case.target.classes == FACTS.classes
    assert list(bundle.use_case.columns) == COLUMNS
    pd.testing.assert_frame_equal(bundle.self_test, rows(2, 40))
    pd.testing.assert_frame_equal(bundle.reference()[COLUMNS], rows(3, 50), check_dtype=False)
    assert bundle.reference()["(prediction)"].isna().all()


def test_columns_are_taken_by_name(folder: Path) -> None:
    """Rows whose columns come in another order, with more of them, get the same answers."""
    bundle = read_bundle(folder)
    shuffled = rows(9).assign(left="True")[["left", "plan", "visits", "spend"]]
    assert np.array_equal(bundle.probabilities(shuffled), bundle.probabilities(rows(9)))


def test_another_pipeline_fails_the_self_test(folder: Path) -> None:
    """A model file that was replaced by another, well-made one is noticed by the answers that were
    kept."""
    skops.io.dump(fit_pipeline(seed=5), folder / MODEL_FILE)
    assert read_bundle(folder).measure_self_test() > 0.01


def test_a_pipeline_that_drifted_by_a_hair_fails_the_self_test(folder: Path) -> None:
    """A coefficient that is off by one in a million shows."""
    pipeline = fit_pipeline()
    pipeline[-1].coef_ *= 1 + 1e-6
    skops.io.dump(pipeline, folder / MODEL_FILE)
    assert read_bundle(folder).measure_self_test() > SELF_TEST_TOLERANCE


class Broken:
    """A model whose answers are of the given kind."""

    def __init__(self, answers: Callable[[int], np.ndarray]) -> None:
        self.answers = answers

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        return self.answers(len(frame))


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
    """No limit lets them pass: not as a self-test, and not as a proof of packaging on either
    side."""
    bundle = read_bundle(folder)
    assert replace(bundle, pipeline=Broken(answers)).measure_self_test() == float("inf")
    assert measure_difference(
        replace(bundle, pipeline=Broken(answers)), fit_pipeline(), rows(9)
    ) == float("inf")
    assert measure_difference(bundle, Broken(answers), rows(9)) == float("inf")


def test_no_rows_show_no_difference(tmp_path: Path) -> None:
    """A bundle without self-test rows reads and differs from nothing."""
    pipeline = fit_pipeline()
    bundle = read_bundle(write_bundle(tmp_path / "bundle", pipeline, tested=rows(2, 0)))
    assert bundle.measure_self_test() == 0.0
    assert measure_difference(bundle, pipeline, rows(2, 0)) == 0.0


def damage(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None  # type: ignore[func-returns-value]


def edit_facts(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "facts.json").read_text())
        (folder / "facts.json").write_text(json.dumps({**content, **changes}))

    return edit


@pytest.mark.parametrize(
    "harm",
    [
        *(
            damage(name, lambda content: content[: len(content) // 2])
            for name in (MODEL_FILE, "facts.json", "self_test.json")
        ),
        *(
            damage(name, lambda content: b"")
            for name in (MODEL_FILE, "facts.json", "self_test.json")
        ),
        damage(MODEL_FILE, lambda content: content.replace(b"PK", b"KP")),
        damage("self_test.json", lambda content: content.replace(b'"answers"', b'"replies"')),
        *(
            lambda folder, name=name: (folder / name).unlink()
            for name in (MODEL_FILE, "facts.json", "self_test.json")
        ),
        edit_facts(surprise=1),
        edit_facts(classes=["only one", "of three", "classes"]),
        edit_facts(use_case={"name": "shop"}),
        shutil.rmtree,
    ],
)
def test_a_damaged_bundle_is_a_model_error(folder: Path, harm: Callable[[Path], None]) -> None:
    """Whatever is cut short, emptied, missing or made up becomes one error that names the bundle
    and what to do."""
    harm(folder)
    with pytest.raises(ModelError) as caught:
        read_bundle(folder)
    assert caught.value.where
    assert caught.value.then


@pytest.mark.parametrize(
    "function", [os.system, os.getcwd, eval], ids=["os.system", "os.getcwd", "eval"]
)
def test_a_file_that_would_run_something_is_refused_unread(folder: Path, function: Any) -> None:
    """A pipeline with a foreign function inside names it in the error; it is not rebuilt."""
    skops.io.dump(make_pipeline(FunctionTransformer(function), fit_pipeline()), folder / MODEL_FILE)
    with pytest.raises(ModelError, match="types only") as caught:
        read_bundle(folder)
    assert function.__name__ in caught.value.got


def test_a_type_of_our_own_making_is_refused(folder: Path) -> None:
    """A class that nobody put on the list is not imported, though it is on the path."""
    pipeline = fit_pipeline()
    pipeline.extra = Broken(np.zeros)
    skops.io.dump(pipeline, folder / MODEL_FILE)
    with pytest.raises(ModelError, match="Broken"):
        read_bundle(folder)


def test_a_pickle_is_refused(folder: Path) -> None:
    """A file that only a pickle reader understands is no bundle."""
    (folder / MODEL_FILE).write_bytes(pickle.dumps(fit_pipeline()))
    with pytest.raises(ModelError):
        read_bundle(folder)


def test_a_lambda_cannot_be_packaged_at_all() -> None:
    """skops itself refuses to write what could not be read without running code from the file."""
    with pytest.raises(Exception, match="lambda"):
        skops.io.loads(
            skops.io.dumps(FunctionTransformer(lambda frame: frame)), trusted=list(TRUSTED_TYPES)
        )


def test_the_list_covers_the_recipes_and_scikit_learns_trees() -> None:
    """What a recipe is made of is on the list of trusted types, and so are scikit-learn's own
    forests."""
    assert set(SERIALISED_TYPES) <= set(TRUSTED_TYPES)
    forest = RandomForestClassifier(3).fit(np.arange(20).reshape(10, 2), [0, 1] * 5)
    assert set(skops.io.get_untrusted_types(data=skops.io.dumps(forest))) <= set(TRUSTED_TYPES)


def test_the_digest_covers_every_file(folder: Path) -> None:
    """One changed byte, one more file, one less, another name or another folder: each gives another
    digest."""
    digests = [model_digest(folder)]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 4
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        digests.append(model_digest(folder))
        path.unlink()
        digests.append(model_digest(folder))
        path.with_name(f"{path.name}.old").write_bytes(content)
        digests.append(model_digest(folder))
        path.with_name(f"{path.name}.old").unlink()
        path.write_bytes(content)
    (folder / "more").mkdir()
    (folder / "more" / "file").touch()
    digests.append(model_digest(folder))
    (folder / "more" / "file").rename(folder / "file")
    digests.append(model_digest(folder))
    (folder / "file").unlink()
    assert len(set(digests)) == len(digests)
    assert model_digest(folder) == digests[0]


def test_the_digest_is_that_of_the_content_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    """A copy under another name, in another order of creation, has the same digest."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        shutil.copy(path, copy / path.name)
    assert model_digest(copy) == model_digest(folder)


def test_facts_of_another_order_of_classes_show_in_the_self_test(folder: Path) -> None:
    """Answers that were kept in another order of classes differ from what the model says now."""
    bundle: Bundle = read_bundle(folder)
    assert (
        replace(bundle, self_test_answers=bundle.self_test_answers[:, ::-1]).measure_self_test()
        > 0.01
    )
