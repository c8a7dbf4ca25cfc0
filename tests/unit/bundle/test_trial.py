"""Files with the right sha256 that would end, stop or mislead whoever loads them: each is refused
before it is loaded here, and by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io

from closedloop.bundle import skops_model, trial
from closedloop.bundle.files import MODEL_FILE, ONNX_FILE, model_digest
from closedloop.bundle.loaded import LoadedVersion, SelfTest, load_version, load_with_pipeline
from closedloop.bundle.onnx_check import check_graph
from closedloop.bundle.scorer import are_probabilities
from closedloop.bundle.soundness import (
    _boosted_trees,
    check_reference,
    check_trees,
    check_version,
)
from closedloop.bundle.trial import load_tried, note_own
from closedloop.errors import ModelError
from tests.unit.bundle.shop import NUMERIC, fit_pipeline, write_bundle, write_proved

pytestmark = pytest.mark.slow

Graph = Any


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of each learner, with ONNX."""
    found = {}
    for recipe in ("lightgbm", "logistic", "baseline"):
        found[recipe] = tmp_path_factory.mktemp("bundles") / recipe
        assert write_proved(found[recipe], fit_pipeline(recipe)).served_by == "onnx"
    return found


@pytest.mark.parametrize("recipe", ["lightgbm", "logistic", "baseline"])
def test_what_every_recipe_makes_is_sound(proved: dict[str, Path], recipe: str) -> None:
    """No version of ours is refused, as ONNX or as a pipeline."""
    check_graph((proved[recipe] / ONNX_FILE).read_bytes(), len(NUMERIC))
    for load in (load_version, load_with_pipeline):
        check_version(load(proved[recipe]))


def tree_with(name: str, value: int) -> Any:
    pipeline = fit_pipeline("baseline")
    tree = pipeline[-1].tree_
    state = tree.__getstate__()
    state["nodes"][name][0] = value
    tree.__setstate__(state)
    return pipeline


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left_child", 10**6),
        ("left_child", -(10**6)),
        ("right_child", 0),
        ("right_child", -1),
        ("feature", 10**6),
        ("feature", -2),
    ],
)
def test_a_tree_that_leads_outside_is_never_asked(tmp_path: Path, name: str, value: int) -> None:
    """Of trusted types, and yet it would end the process, or go round for ever."""
    folder = write_bundle_of(tmp_path / "bundle", tree_with(name, value))
    with pytest.raises(ModelError, match="trees"):
        check_version(load_with_pipeline(folder))


def write_bundle_of(folder: Path, pipeline: Any) -> Path:
    """A bundle whose self-test was answered by another: this pipeline cannot be asked."""
    write_bundle(folder, fit_pipeline("baseline"))
    skops.io.dump(pipeline, folder / MODEL_FILE)
    return folder


TREE = (
    "tree\n\nTree=0\nnum_leaves=3\nnum_cat=0\nsplit_feature=0 1\nleft_child=1 -1\n"
    "right_child=-2 -3\nis_linear=0\n\n\nend of trees\n\nleft_child=9\n"
)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("left_child=1", "left_child=0"),
        ("left_child=1", "left_child=7"),
        ("right_child=-2 -3", "right_child=-2 -4"),
        ("split_feature=0", "split_feature=3"),
        ("split_feature=0", "split_feature=-1"),
        ("num_leaves=3", "num_leaves=4"),
        ("left_child=1 -1", "left_child=1"),
        ("num_cat=0", "num_cat=1"),
        ("is_linear=0", "is_linear=1"),
    ],
)
def test_a_boosted_tree_that_leads_outside_is_refused(was: str, now: str) -> None:
    """As LightGBM writes its trees."""

    def check(text: str) -> None:
        booster = SimpleNamespace(num_feature=lambda: 9, model_to_string=lambda: text)
        for found in _boosted_trees(booster, 3):
            check_trees(*found)

    check(TREE)
    with pytest.raises(ModelError):
        check(TREE.replace(was, now, 1))


def without(part: str, **changes: Any) -> Callable[[LoadedVersion], LoadedVersion]:
    return lambda version: replace(version, **{part: replace(getattr(version, part), **changes)})


def answering(answers: Callable[[int], np.ndarray]) -> Callable[[LoadedVersion], LoadedVersion]:
    def change(version: LoadedVersion) -> LoadedVersion:
        scorer = SimpleNamespace(
            numeric=version.scorer.numeric,
            categorical=version.scorer.categorical,
            probabilities=lambda numbers, _texts: answers(len(numbers)),
        )
        return replace(version, scorer=scorer)  # type: ignore[arg-type]

    return change


VERSIONS: dict[str, Any] = {
    "no self-test": without("self_test", rows=(), answers=np.empty((0, 2))),
    "a self-test without end": without("self_test", rows=({},) * 10_001),
    "a self-test without a class": without("self_test", labels=(0,) * 40),
    "a self-test of percentages": lambda version: replace(
        version, self_test=SelfTest(version.self_test.rows, version.self_test.answers * 100)
    ),
    "classes the other way round": without("facts", classes=("True", "False")),
    "a class twice": without("facts", classes=("True", "True")),
    "other classes": without("facts", classes=("yes", "no")),
    "shares that are a text": without(
        "facts", statistics={"plan": {"shares": "x", "null_rate": 0.0}}
    ),
    "a rate that is a text": without("facts", statistics={"plan": {"null_rate": "0"}}),
    "statistics that are a list": without("facts", statistics={"plan": []}),
    "a threshold beyond 1": without("facts", threshold=1.5),
    "a name that is a number": without("facts", name=7),
    "windows that are numbers": without("facts", trained_windows=(1, 2)),
    "percentages": answering(lambda rows: np.tile([111.86, -110.86], (rows, 1))),
    "shares of more than 1": answering(lambda rows: np.full((rows, 2), 0.7)),
    "not a number": answering(lambda rows: np.full((rows, 2), np.nan)),
    "whole numbers": answering(lambda rows: np.tile([0, 1], (rows, 1))),
    "texts": answering(lambda rows: np.full((rows, 2), "0.5", dtype=object)),
    "a row too few": answering(lambda rows: np.full((rows - 1, 2), 0.5)),
    "a class too many": answering(lambda rows: np.full((rows, 3), 1 / 3)),
    "other answers to nulls": answering(
        lambda rows: np.full((rows, 2), 0.5 if rows == 40 else np.inf)
    ),
}


@pytest.mark.parametrize("change", VERSIONS.values(), ids=VERSIONS)
def test_a_version_that_answers_otherwise_is_refused(
    proved: dict[str, Path], change: Callable[[LoadedVersion], LoadedVersion]
) -> None:
    """Answers are shares of the classes of its contract, also for rows that nobody has seen."""
    with pytest.raises(ModelError, match="the files of the version: wanted"):
        check_version(change(load_version(proved["logistic"])))


def test_the_sample_of_training_rows_is_one_of_the_contract(proved: dict[str, Path]) -> None:
    """It has every column and is no larger than drift can be measured against."""
    version = load_with_pipeline(proved["logistic"])
    check_reference(version)
    for reference in (
        lambda: version.reference().drop(columns="plan"),
        lambda: version.reference().reindex(range(1_000_001)),
    ):
        with pytest.raises(ModelError, match="training rows with every column"):
            check_reference(replace(version, reference=reference))


def test_shares_are_of_0_to_1_and_sum_to_1() -> None:
    """Within what float32 can say."""
    assert are_probabilities(np.float32([[0.1, 0.9], [1, 0]]), 2, 2)
    assert are_probabilities(np.empty((0, 2)), 0, 2)
    for wrong in ([[0.1, 0.8]], [[1.1, -0.1]], [[np.nan, 1.0]], [[0.2, 0.3, 0.5]]):
        assert not are_probabilities(np.array(wrong), 1, 2)


def test_an_archive_that_says_two_things_or_too_much_is_refused(
    proved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name twice, or files that are larger unpacked than a bundle may be."""
    content = (proved["baseline"] / MODEL_FILE).read_bytes()
    doubled = BytesIO(content)
    with ZipFile(doubled, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("schema.json", "{}")
    with pytest.raises(ValueError, match="twice"):
        skops_model.load_pipeline(doubled.getvalue())
    monkeypatch.setattr(skops_model, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(ValueError, match="more than"):
        skops_model.load_pipeline(content)


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """What a trial does instead of its work, as a shell script; counts how often it ran."""

    def replace_by(script: str) -> Path:
        program, ran = tmp_path / "python", tmp_path / "ran"
        program.write_text(f"#!/bin/sh\necho ran >> {ran}\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return ran

    return replace_by


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("kill -SEGV $$", "a process that ended by SIGSEGV"),
        ("kill -XCPU $$", "a process that ended by SIGXCPU"),
        ("echo 'MemoryError' >&2; exit 1", "ended with: MemoryError"),
        ("exec sleep 60", r"none after 0\.5 seconds"),
        (
            "echo noise; echo '"
            + json.dumps({"where": "a", "wanted": "b", "got": "c", "then": "d"})
            + "'; exit 3",
            "a: wanted b, got c: d",
        ),
    ],
    ids=["crash", "time", "memory", "stuck", "refused"],
)
def test_a_process_that_ends_badly_is_a_refusal(
    proved: dict[str, Path],
    tmp_path: Path,
    process: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    told: str,
) -> None:
    """Whatever happens to it, this process goes on, and the next try is a new one."""
    ran = process(script)
    monkeypatch.setattr(trial, "SECONDS", 0.5 if "sleep" in script else 30)
    for count in (1, 2):
        with pytest.raises(ModelError, match=told):
            load_tried(proved["logistic"], tmp_path / "tried")
        assert len(ran.read_text().splitlines()) == count


def test_a_trial_is_made_once_for_the_same_files_and_libraries(
    proved: dict[str, Path],
    tmp_path: Path,
    process: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second start costs none; another way to answer or another library does. What was made here
    needs none at all."""
    ran, tried = process("exit 0"), tmp_path / "tried"

    def count() -> int:
        return len(ran.read_text().splitlines()) if ran.exists() else 0

    for _ in range(2):
        assert load_tried(proved["logistic"], tried).scorer.served_by == "onnx"
    assert count() == 1
    load_tried(proved["logistic"], tried, "pipeline")
    assert count() == 2
    note_own(model_digest(proved["baseline"]), tried)
    load_tried(proved["baseline"], tried)
    assert count() == 2
    monkeypatch.setattr(trial, "describe_packages", lambda _names: ["another"])
    load_tried(proved["baseline"], tried)
    assert count() == 3
    (tried / f"{model_digest(proved['baseline'])}-proved").unlink()
    tried.rename(tmp_path / "away")
    tried.touch()  # a note that cannot be written costs a trial, no more
    load_tried(proved["baseline"], tried)
    assert count() == 4


def test_a_real_trial(proved: dict[str, Path], tmp_path: Path) -> None:
    """In a process with limits: a good version passes, one whose tree leads outside does not."""
    assert load_tried(proved["lightgbm"], tmp_path / "tried").scorer.served_by == "onnx"
    folder = write_bundle_of(tmp_path / "bundle", tree_with("left_child", 10**6))
    with pytest.raises(ModelError, match="a branch that leads outside or back"):
        load_tried(folder, tmp_path / "tried")
