"""Estimators of the user's own: a function beside loop.toml makes them, and what is wrong with one
is said in a sentence."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from closedloop.bundle import own_code
from closedloop.bundle.own_code import allow_own_code, refuse_own_code_of_others
from closedloop.bundle.skops_model import load_pipeline, refuse_foreign
from closedloop.errors import ClosedLoopError, ModelError, UseCaseError
from closedloop.training.candidates import fit_recipe
from closedloop.training.learners import check_recipes
from closedloop.training.recipes import fit
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from tests.unit.training.shop_windows import CONTENT, make_windows

MODULE = """
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline


class Spend(TransformerMixin, BaseEstimator):
    def fit(self, frame, labels=None):
        self.fitted_ = True
        return self

    def transform(self, frame):
        return frame[["spend"]].fillna(0.0).to_numpy()


def build(task):
    assert task.columns == {"spend": "numeric", "plan": "categorical"}
    assert (task.classes, task.seed) == (("False", "True"), 7)
    return make_pipeline(Spend(), LogisticRegression())


def no_probabilities(task):
    return RidgeClassifier()


def no_weights(task):
    return make_pipeline(Spend(), KNeighborsClassifier())


def fails(task):
    raise RuntimeError("no such file")


def with_a_lambda(task):
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(lambda frame: frame[["spend"]]), LogisticRegression())
"""
NAME = "estimators_of_a_test"


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test allows and imports ends with it."""
    monkeypatch.setattr(own_code, "_TRUSTED", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop(NAME, None)


def use_case(folder: Path, function: str = "build", **table: Any) -> UseCase:
    """A shop with its own recipe; its code may be imported from here on."""
    (folder / f"{NAME}.py").write_text(MODULE, encoding="utf-8")
    recipe = {"estimator": f"{NAME}:{function}", **table}
    content = {
        **CONTENT,
        "training": {**CONTENT["training"], "recipes": ["mine"]},
        "recipes": {"mine": recipe},
    }
    read = parse_use_case(content, folder / "loop.toml")
    allow_own_code(read)
    return read


def test_an_estimator_of_your_own_is_fitted_written_and_read(tmp_path: Path) -> None:
    """On all history and on weighted history; its own types are trusted by loop.toml alone."""
    read = use_case(tmp_path, trusted=[f"{NAME}.Spend"])
    check_recipes(read)
    windows = make_windows(read)
    for history in ("all", "recent"):
        fitted = fit_recipe(f"mine/{history}", windows, read).pipeline
        content = skops.io.dumps(fitted)
        rows = windows[0].frame[["spend", "plan"]]
        again = load_pipeline(content).predict_proba(rows)
        assert np.array_equal(again, fitted.predict_proba(rows))
    refuse_foreign(fitted)
    own_code._TRUSTED.clear()
    with pytest.raises(ModelError, match=rf"got {NAME}\.Spend: if you know them, add .*trusted"):
        refuse_foreign(fitted)
    with pytest.raises(ModelError, match=rf"or that loop\.toml trusts, got {NAME}\.Spend"):
        load_pipeline(content)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("buid", "with a function buid, got AttributeError"),
        ("no_probabilities", "wanted a classifier with fit and predict_proba, got a RidgeClass"),
        ("no_weights", 'got KNeighborsClassifier: set histories = ["all"] under [training]'),
        ("fails", "wanted an estimator, got RuntimeError: no such file"),
    ],
)
def test_a_wrong_function_is_one_clear_sentence(tmp_path: Path, function: str, said: str) -> None:
    """A wrong import, a classifier without probabilities or weights, an error of its own."""
    read = use_case(tmp_path, function)

    def check_and_fit() -> None:
        check_recipes(read)
        fit_recipe("mine/recent", make_windows(read), read)

    with pytest.raises(ClosedLoopError, match=re.escape(said)) as refused:
        check_and_fit()
    assert "\n" not in str(refused.value)


def test_what_skops_cannot_write_is_told(tmp_path: Path) -> None:
    """A lambda has no name by which it could be found again; what cannot be written at all."""
    read = use_case(tmp_path, "with_a_lambda")
    fitted = fit_recipe("mine/all", make_windows(read), read).pipeline
    with pytest.raises(ModelError, match="a function with a name in the place of a lambda"):
        refuse_foreign(fitted)
    fitted.made_of = (number for number in range(3))
    with pytest.raises(ModelError, match="types and functions that skops can write, got"):
        refuse_foreign(fitted)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"estimator": "mine"}, 'estimator must be "module:function"'),
        ({"estimator": "../mine:build"}, 'estimator must be "module:function"'),
        ({"estimator": "mine:build", "parameters": {"C": 1}}, "either learner and parameters, or"),
        ({"learner": "logistic", "trusted": ["a.B"]}, "trusted is for recipes with an estimator"),
        ({"estimator": "mine:build", "trusted": ["Spend"]}, 'types as "module.Class"'),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    """When the file is read."""
    content = {**CONTENT, "recipes": {"mine": table}}
    with pytest.raises(UseCaseError, match=re.escape(said)):
        parse_use_case(content, tmp_path / "loop.toml")


def test_another_code_is_another_recipe(tmp_path: Path) -> None:
    """The sha256 of its module, and of those beside it that it imports, is part of the fingerprint
    and is kept with each version."""
    before = use_case(tmp_path)
    same = use_case(tmp_path)
    kept = parse_use_case(before.stored_content, tmp_path / "elsewhere" / "loop.toml")
    assert before.fingerprint == same.fingerprint
    assert kept.recipes == before.recipes
    path = tmp_path / f"{NAME}.py"
    path.write_text(MODULE + "\n# changed\n", encoding="utf-8")
    after = parse_use_case(dict(before.content), tmp_path / "loop.toml")
    assert after.fingerprint != before.fingerprint
    assert after.recipes != before.recipes
    path.write_text(MODULE + "\nfrom kept_apart import scale\n", encoding="utf-8")
    package = tmp_path / "kept_apart"
    package.mkdir()
    found = set()
    for content in ("from . import inner", "from . import inner\nimport json\n"):
        (package / "__init__.py").write_text(content, encoding="utf-8")
        found.add(parse_use_case(dict(before.content), tmp_path / "loop.toml").fingerprint)
    assert len(found | {before.fingerprint, after.fingerprint}) == 4


def test_a_version_cannot_bring_an_estimator_of_its_own(tmp_path: Path) -> None:
    """Its facts may name any function; only those that loop.toml names here are called."""
    ours = use_case(tmp_path)
    refuse_own_code_of_others("mine", ours, ours)
    recipes = {"mine": {"estimator": "sys:exit"}}
    theirs = parse_use_case({**ours.content, "recipes": recipes}, tmp_path / "loop.toml")
    with pytest.raises(ModelError, match=r"estimator that loop\.toml names here, got sys"):
        refuse_own_code_of_others("mine", theirs, ours)
    with pytest.raises(ModelError, match="got SystemExit"):
        fit_recipe("mine/all", make_windows(theirs), theirs)


def test_a_frame_without_classes_named_is_counted(tmp_path: Path) -> None:
    """`fit` is also called with labels only."""
    use_case(tmp_path, "no_weights")
    frame, labels = pd.DataFrame({"spend": np.arange(40.0)}), np.arange(40) % 2
    recipe = parse_use_case(
        {**CONTENT, "recipes": {"mine": {"estimator": f"{NAME}:no_weights"}}},
        tmp_path / "loop.toml",
    ).recipes["mine"]
    fitted = fit(recipe, frame, labels, numeric=("spend",), categorical=(), seed=1)
    assert fitted.predict_proba(frame).shape == (40, 2)
