"""What each column adds to a score: it adds up, it is where it belongs, and an estimate says how
far off it may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from closedloop.bundle import sampled_contributions
from closedloop.bundle.contributions import Contributions, Explainer
from closedloop.bundle.frames import pack_frame
from closedloop.bundle.loaded import LoadedVersion, SelfTest, load_with_pipeline
from closedloop.bundle.sampled_contributions import Sampler
from closedloop.bundle.skops_model import BACKGROUND_ROWS, PipelineScorer
from closedloop.errors import ModelError
from closedloop.training.recipes import fit
from closedloop.use_case.recipe import Recipe
from tests.unit.bundle.shop import (
    CATEGORICAL,
    FACTS,
    NUMERIC,
    USE_CASE,
    fit_pipeline,
    labels_of,
    rows,
    write_bundle,
)

pytestmark = pytest.mark.slow

CLASSES = ("no", "yes", "maybe")


def make_version(recipe: Any, classes: int = 2, seed: int = 1) -> LoadedVersion:
    """A version of an older closedloop, which has its reference only as a table."""
    table = rows(seed)
    labels = labels_of(table) + (classes - 2) * (table["visits"] > 4).to_numpy(dtype=int)
    pipeline = fit(recipe, table, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7)
    return LoadedVersion(
        replace(FACTS, classes=CLASSES[:classes]),
        USE_CASE,
        PipelineScorer(pipeline, NUMERIC, CATEGORICAL),
        lambda: rows(3, 80),
    )


def asked(count: int = 60) -> pd.DataFrame:
    """Rows with nulls in every column, categories nobody has seen, and numbers far away."""
    table = rows(9, count)
    table.loc[1, ["spend", "visits"]] = np.nan
    table.loc[2, "plan"] = "never seen"
    table.loc[3, ["spend", "visits"]] = [1e6, -1e6]
    return table


def explain(explainer: Explainer, table: pd.DataFrame) -> Contributions:
    return explainer.explain(*pack_frame(table, NUMERIC, CATEGORICAL))


def margins_of(version: LoadedVersion, table: pd.DataFrame) -> np.ndarray:
    """From probabilities: log odds, or scores up to a number that is the same for all classes."""
    logs = np.log(version.scorer.probabilities(*pack_frame(table, NUMERIC, CATEGORICAL)))
    return logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs - logs.mean(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("recipe", "method"),
    [
        ("logistic", "exact"),
        *((learner, "tree") for learner in ("lightgbm", "xgboost", "catboost")),
        ("baseline", "sampled"),
    ],
)
def test_base_and_contributions_are_the_margin(recipe: str, method: str, classes: int) -> None:
    """To 1e-6, for every class, with nulls and categories that nobody has seen; and the margin is
    that of the version's probabilities."""
    version = make_version(recipe, classes)
    explainer, table = Explainer(version), asked()
    found = explain(explainer, table)
    assert explainer.method == method
    assert explainer.classes == (CLASSES if classes == 3 else ("yes",))
    assert found.values.shape == (60, len(explainer.classes), 3)
    assert np.abs(found.base + found.values.sum(axis=2) - found.margins).max() < 1e-6
    if method == "sampled":
        return  # from the probabilities, of which the smallest are bounded
    level = found.margins.mean(axis=1, keepdims=True) if classes == 3 else 0.0
    usual = np.delete(np.arange(60), 3)  # far away, a probability is 0 or 1
    wanted = margins_of(version, table.iloc[usual])
    digits = 1e-5 if recipe == "xgboost" else 1e-6  # it counts with seven digits
    assert np.abs((found.margins - level)[usual] - wanted).max() < digits


@pytest.mark.parametrize("recipe", ["logistic", "lightgbm", "baseline"])
def test_what_a_column_adds_is_under_its_name(recipe: str) -> None:
    """The same row with another plan: only the plan's part of an additive model changes, and it
    changes as the margin does. A column that says nothing adds nothing."""
    table = rows(1).assign(visits=3.0)
    labels = ((table["spend"].fillna(50) > 50) | (table["plan"] == "gold")).to_numpy(dtype=int)
    pipeline = fit(recipe, table, labels, numeric=NUMERIC, categorical=CATEGORICAL, seed=7)
    scorer = PipelineScorer(pipeline, NUMERIC, CATEGORICAL)
    explainer = Explainer(LoadedVersion(FACTS, USE_CASE, scorer, lambda: rows(3, 80)))
    first = rows(9, 20).assign(visits=3.0)
    added = [explain(explainer, first.assign(plan=plan)) for plan in ("basic", "gold")]
    places = [explainer.columns.index(name) for name in ("spend", "visits", "plan")]
    spend, visits, plan = ((added[1].values - added[0].values)[:, 0, place] for place in places)
    if recipe == "logistic":
        assert np.allclose(plan, (added[1].margins - added[0].margins)[:, 0])
        assert (plan > 0.5).all()
        assert np.allclose(spend, 0)
    assert np.allclose(visits, 0)
    assert np.allclose(added[0].values[:, 0, places[1]], 0, atol=1e-9)


@pytest.mark.parametrize(
    "parameters",
    [{"sigmoid": 2.0}, {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}],
    ids=["steeper", "averaged"],
)
def test_trees_whose_sum_is_not_the_log_odds_are_sampled(parameters: dict[str, Any]) -> None:
    """TreeSHAP would explain another number than the one that is answered."""
    assert Explainer(make_version(Recipe("lightgbm", parameters))).method == "sampled"


def sampled(version: LoadedVersion, background: pd.DataFrame, table: pd.DataFrame) -> Any:
    sampler = Sampler(version.scorer.probabilities, *pack_frame(background, NUMERIC, CATEGORICAL))
    packed = pack_frame(table, NUMERIC, CATEGORICAL)
    return sampler.evaluations, sampler.explain(*packed)


def test_an_estimate_agrees_with_what_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a logistic regression: to the last digits over all background rows, within four standard
    errors over ten of them, and the same each time it is asked."""
    version = make_version("logistic")
    background, table = rows(3, 80), asked().drop(index=3)
    exact = explain(Explainer(version), table)
    _, whole = sampled(version, background, table)
    assert np.abs(whole[2] - exact.values).max() < 1e-6
    monkeypatch.setattr(sampled_contributions, "MAX_EVALUATIONS", 40)
    evaluations, (margins, base, values, errors) = sampled(version, background, table)
    assert evaluations <= 41
    assert np.abs(base + values.sum(axis=2) - margins).max() < 1e-9
    off = np.abs(values - exact.values)
    assert off.max() > 0.01
    assert (off <= 4 * errors + 1e-9).all()
    alone = sampled(version, background, table.iloc[5:6])[1]
    assert np.allclose(alone[2][0], values[5], rtol=0, atol=1e-12)


def test_the_stated_error_is_the_size_of_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of trees: estimates over other background rows differ by as much as their errors say."""
    version, table = make_version("lightgbm"), rows(9, 30)
    monkeypatch.setattr(sampled_contributions, "MAX_EVALUATIONS", 80)
    many = [sampled(version, rows(seed, 80), table)[1] for seed in range(100, 116)]
    spread = np.std([values for _, _, values, _ in many], axis=0, ddof=1)
    stated = np.sqrt(np.mean([errors**2 for *_, errors in many], axis=0))
    assert 0.7 < np.sqrt((spread**2).mean() / (stated**2).mean()) < 1.4


def test_a_forest_that_is_sure_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities 0 and 1 have no log odds; the margin is bounded, and the parts add up,
    also when rows are scored in several blocks."""
    table = rows(1)
    pipeline = fit_pipeline("baseline")
    forest = RandomForestClassifier(5, random_state=0)
    forest.fit(pipeline[0].transform(table), labels_of(table))
    pipeline.steps[-1] = ("model", forest)
    scorer = PipelineScorer(pipeline, NUMERIC, CATEGORICAL)
    explainer = Explainer(LoadedVersion(FACTS, USE_CASE, scorer, lambda: rows(3, 80)))
    monkeypatch.setattr(sampled_contributions, "_CELLS_AT_ONCE", 90)
    whole = pack_frame(table.head(5), NUMERIC, CATEGORICAL)
    found = explainer.explain(*whole)
    assert (np.abs(found.margins) > 13).any()
    assert np.abs(found.base + found.values.sum(axis=2) - found.margins).max() < 1e-9
    monkeypatch.undo()
    assert np.allclose(explainer.explain(*whole).values, found.values, rtol=0, atol=1e-12)


def test_the_background_travels_with_the_self_test(tmp_path: Path) -> None:
    """A service without a reader of Parquet has the rows that contributions are measured against,
    spread over the reference, with their nulls."""
    folder = write_bundle(tmp_path / "bundle", fit_pipeline("logistic"))
    version = load_with_pipeline(folder)
    assert len(version.self_test.background) == min(50, BACKGROUND_ROWS)
    assert version.self_test.background[0]["spend"] is None
    older = replace(version, self_test=SelfTest())
    (folder / "reference.parquet").unlink()
    table = asked()
    with pytest.raises(FileNotFoundError):
        Explainer(older)
    ours = explain(Explainer(version), table)
    theirs = explain(Explainer(replace(older, reference=lambda: rows(3, 50))), table)
    assert np.allclose(ours.values, theirs.values, rtol=0, atol=1e-9)


def no_reader() -> pd.DataFrame:
    raise ImportError("pyarrow")


@pytest.mark.parametrize(
    ("reference", "got"), [(no_reader, "no pyarrow here"), (lambda: rows(3, 0), "got none")]
)
def test_nothing_to_compare_with_is_an_error(
    reference: Callable[[], pd.DataFrame], got: str
) -> None:
    """A version without background rows says what to do, unless its trees need none."""
    with pytest.raises(ModelError, match=f"{got}.*train again"):
        Explainer(replace(make_version("logistic"), reference=reference))
    assert Explainer(replace(make_version("lightgbm"), reference=reference)).method == "tree"
