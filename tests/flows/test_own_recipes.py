"""Recipes of the user's own go through everything: tried, trained, promoted, served, rolled back,
monitored and replayed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.replay import Past, Stream
from closedloop.backtest.run import run_backtest
from closedloop.bundle.frames import score_frame
from closedloop.cli.app import main
from closedloop.cli.service import build_service
from closedloop.decisions.checks import Action
from closedloop.operations.export import export_version
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.reproduce import reproduce
from closedloop.windows.prepare import prepare

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

TABLES = """
[recipes.wide]
learner = "random_forest"
parameters = { class_weight = "balanced", n_estimators = 40 }

[recipes.xgboost]
parameters = { max_depth = 2 }

[recipes.cat]
learner = "catboost"
parameters = { depth = 3 }

[recipes.mine]
estimator = "own_recipe_of_a_test:build"
trusted = ["own_recipe_of_a_test.Logs"]
"""
MODULE = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


class Logs(TransformerMixin, BaseEstimator):
    def fit(self, frame, labels=None):
        self.fitted_ = True
        return self

    def transform(self, frame):
        return np.sign(frame.fillna(0)) * np.log1p(np.abs(frame.fillna(0)))


def build(task):
    columns = make_column_transformer(
        (Logs(), task.numeric), (OneHotEncoder(handle_unknown="ignore"), task.categorical)
    )
    model = LogisticRegression(C=0.5, class_weight="balanced", max_iter=500)
    return make_pipeline(columns, CalibratedClassifierCV(model, cv=3))
"""
RECIPES = {"wide": "onnx", "xgboost": "pipeline", "cat": "pipeline", "mine": "pipeline"}


@pytest.mark.nightly
def test_recipes_of_your_own_go_all_the_way(
    make_place: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A forest with class weights, XGBoost, CatBoost, and a calibrated pipeline with a transformer
    of the user's module, one after the other."""
    from flows.monitor_flow import monitor_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    place = make_place(0, 0, 0, 0, 0, rows=1200)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
    written = place.path.read_text(encoding="utf-8") + TABLES
    (place.path.parent / "own_recipe_of_a_test.py").write_text(MODULE, encoding="utf-8")
    for number, (name, served_by) in enumerate(RECIPES.items(), 1):
        place.path.write_text(written.replace('["logistic"]', f'["{name}"]'), encoding="utf-8")
        train_and_compare_flow(use_case=str(place.path), window=f"month_{number - 1:03d}")
        loop = place.open()
        if loop.registry.production() != number:  # another recipe has to be better
            assert promote_by_hand(loop, number).decision.action is Action.PROMOTE
        version = loop.registry.load(number)
        assert (version.facts.recipe.partition("/")[0], version.proof.served_by) == (
            name,
            served_by,
        )
        raw = loop.source.read("month_004").drop(columns=[loop.use_case.target.column]).head(3)
        wanted = score_frame(version.scorer, prepare(raw, loop.use_case))
        service = build_service(loop.use_case, place.settings, "127.0.0.1", "here", f"{number}")
        with TestClient(service, base_url="http://127.0.0.1") as client:
            rows = raw[list(loop.use_case.columns)].astype(object).where(raw.notna(), None)
            answer = client.post("/predict", json={"rows": rows.to_dict(orient="records")}).json()
            price = client.get("/model").json()["ms_a_row"]
            explained = client.post("/explain", json={"rows": rows.to_dict(orient="records")})
        assert (explained.status_code, explained.json()["version"]) == (200, number)
        assert answer["version"] == number
        assert 0 < price == version.proof.milliseconds
        assert loop.registry.tags(number)["ms_a_row"] == str(price)
        given = [
            [row["probabilities"][name] for name in version.facts.classes]
            for row in answer["predictions"]
        ]
        np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-5)

    before = loop.journal.history(loop.use_case.name)
    environment = {"CLOSEDLOOP_HOME": str(place.settings.home)}
    assert main(["try", "wide", "--use-case", str(place.path)], environment) == 0
    assert "production is version 4" in capsys.readouterr().out
    assert main(["try", "wid", "--use-case", str(place.path)], environment) == 2
    assert "did you mean wide?" in capsys.readouterr().err
    assert loop.journal.history(loop.use_case.name) == before
    assert len(loop.registry.versions()) == len(RECIPES)

    out = place.path.parent / "exported"
    export_version(loop, 4, out)
    script = [sys.executable, str(out / "score.py"), json.dumps(raw.iloc[0].to_dict())]
    scored = subprocess.run(script, capture_output=True, text=True, cwd=out.parent.parent)
    assert scored.returncode == 0, scored.stderr
    shares = [*json.loads(scored.stdout)["probabilities"].values()]
    np.testing.assert_allclose(shares, wanted[0], rtol=0, atol=1e-12)

    assert roll_back_by_hand(loop).decision.version == 3
    assert reproduce(loop, 4).proved
    run = loop.registry.version(4).run_id
    assert loop.registry.read_run_file(run, "code/own_recipe_of_a_test.py") == MODULE
    module = place.path.parent / "own_recipe_of_a_test.py"
    module.write_text(MODULE + "\n# changed\n", encoding="utf-8")
    changed = [said for said in reproduce(loop, 4).others if "own_recipe_of_a_test" in said]
    assert len(changed) == 1
    assert changed[0].endswith("; today's was used")
    module.write_text(MODULE, encoding="utf-8")
    promote_by_hand(loop, 4)
    monitor_flow(use_case=str(place.path), window="month_004")
    assert loop.journal.history(loop.use_case.name)[-1].decision.window == "month_004"
    replayed = run_backtest(
        Past(Stream(loop.source), loop.use_case, CachedCompute(), 1), ["static"]
    )
    assert replayed.use_case == loop.use_case.name
