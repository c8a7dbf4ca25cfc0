"""A search goes on after a kill as if nothing had been, and shows in MLflow what it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.app import main
from closedloop.errors import ModelError, SourceError, StoreError
from closedloop.experiment.search import search
from closedloop.experiment.study import Study
from closedloop.experiment.trial import Choice, Trial
from closedloop.registry.data_inputs import hash_data
from closedloop.registry.runs import DATA, KEY
from closedloop.registry.search_runs import PARENT
from closedloop.turn.compute import Compute
from closedloop.use_case.recipe import Recipe
from tests.turned_loop import TurnedLoop, write_loop
from tests.unit.experiment.killed_search import FOLDS, TRIALS, search_shop

pytestmark = pytest.mark.slow


def runs_of(place: TurnedLoop) -> list[Any]:
    """All runs of the use case in MLflow."""
    registry = place.open().registry
    return list(registry._client.search_runs([registry._experiment()]))


def without_run(trials: tuple[Trial, ...]) -> list[Trial]:
    """Trials without the ids that MLflow gave them."""
    return [replace(trial, run_id="") for trial in trials]


def kill(place: TurnedLoop, number: int, where: str) -> None:
    """Let a process search that dies at this trial."""
    program = [sys.executable, "-m", "tests.unit.experiment.killed_search"]
    done = subprocess.run(
        [*program, str(place.folder), str(number), where],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    """Four windows, searched once."""
    place = write_loop(tmp_path_factory.mktemp("shop"), 4)
    make_mlflow_tables(place.settings.home_folder)
    search_shop(place)
    return place


@pytest.mark.nightly
def test_a_killed_search_ends_as_one_that_was_not(
    tmp_path: Path, shop: TurnedLoop, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Killed within a trial, repeated, killed between two, repeated: the trials, their parameters
    and scores are those of a search that nobody killed, and MLflow has each of them once."""
    killed = write_loop(tmp_path, 4)
    make_mlflow_tables(killed.settings.home_folder)
    kill(killed, 1, "within")
    [cut_off] = [run for run in runs_of(killed) if run.data.tags[KEY].endswith("/1")]
    assert cut_off.info.status == "RUNNING"
    kill(killed, 2, "before")
    found, wanted = search_shop(killed), search_shop(shop)
    assert (found.before, wanted.before) == (2, TRIALS)
    assert without_run(found.trials) == without_run(wanted.trials)
    assert len({str(trial.parameters) for trial in found.trials}) == TRIALS
    runs = runs_of(killed)
    assert len(runs) == TRIALS + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    [again] = [run for run in runs if run.data.tags[KEY] == cut_off.data.tags[KEY]]
    assert again.info.run_id == cut_off.info.run_id


@pytest.mark.nightly
def test_every_trial_is_a_run_below_the_search(shop: TurnedLoop) -> None:
    """Parameters, scores by class and window, confusion matrix and plots are in MLflow, with what
    autolog adds; nothing is registered."""
    registry = shop.open().registry
    found = search_shop(shop)
    runs = {run.info.run_id: run for run in runs_of(shop)}
    parent = runs.pop(found.run_id)
    assert set(runs) == {trial.run_id for trial in found.trials}
    for trial in found.trials:
        data = runs[trial.run_id].data
        assert data.tags[PARENT] == found.run_id
        assert data.tags[DATA] == hash_data(found.folds.digests)
        used = runs[trial.run_id].inputs.dataset_inputs
        assert {each.dataset.name for each in used} == {*found.folds.digests}
        assert data.params["recipe"] == "logistic"
        assert data.params["history"] == trial.history
        assert float(data.params["model__C"]) == trial.parameters.get("C", 1.0)
        assert data.metrics["mean_roc_auc"] == trial.score
        assert data.metrics["roc_auc_2026-02"] == trial.by_fold[0]
        assert {"precision_yes", "recall_no", "f1_yes", "training_roc_auc"} <= set(data.metrics)
        confusion = registry.read_run_file(trial.run_id, "scores.json")
        assert '"confusion"' in confusion
        for picture in ("scores.png", "training_confusion_matrix.png"):
            assert registry.local_file(trial.run_id, picture) is not None
    assert parent.data.metrics["mean_roc_auc"] == found.best.score
    assert registry.local_file(found.run_id, "search.png") is not None
    assert registry.versions() == ()


def test_the_command_prints_the_best_and_writes_it_when_asked(
    shop: TurnedLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The block that is printed is the one in MLflow and in --json; loop.toml has it only after
    --write, and the same recipe is not taken for one that is there already."""
    text, found = shop.path.read_text(), search_shop(shop)
    assert found.recipe is not None
    environment = {**os.environ, "CLOSEDLOOP_HOME": str(shop.settings.home)}
    asked = ["experiment", "--use-case", str(shop.path)]
    asked += ["--trials", str(TRIALS), "--folds", str(FOLDS)]
    assert main(asked, environment) == 0
    said = capsys.readouterr().out
    assert found.recipe.block in said
    assert "next: append that to loop.toml" in said
    assert shop.path.read_text() == text
    assert main([*asked, "--write", "--json"], environment) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["recipe"] == {
        "name": "logistic_tuned",
        "toml": found.recipe.block,
        "written": True,
    }
    assert len(content["trials"]) == TRIALS
    assert shop.path.read_text() == f"{text}\n{found.recipe.block}"
    assert shop.open().registry.read_run_file(found.run_id, "recipe.toml") == found.recipe.block
    shop.path.write_text(text)


def test_a_search_goes_on_only_while_nothing_changed(shop: TurnedLoop) -> None:
    """The same command has nothing to do, more trials add to it, and another loop.toml (here with
    costs, of which less is better) or another label begins anew."""
    first = search_shop(shop)
    assert first.before == TRIALS
    more = search_shop(shop, trials=TRIALS + 1)
    assert more.trials[:TRIALS] == first.trials
    assert (more.before, len(more.trials)) == (TRIALS, TRIALS + 1)
    text = shop.path.read_text()
    by_cost = '[policy.promotion]\nmeasure = "cost"\ncost = [[0, 1], [5, 0]]'
    shop.path.write_text(text.replace("[policy.promotion]", by_cost))
    changed = search_shop(shop, trials=1)
    assert changed.before == 0
    [run] = [run for run in runs_of(shop) if run.info.run_id == changed.run_id]
    costs = [-trial.score for trial in changed.trials if trial.score is not None]
    assert run.data.metrics["mean_cost"] == min(costs) > 0
    shop.path.write_text(text)
    month = shop.folder / "2026-01.csv"
    rows = month.read_text()
    month.write_text(rows.replace(",yes\n", ",no\n", 1))
    assert search_shop(shop, trials=1).before == 0
    month.write_text(rows)


class Interrupted(Compute):
    """Somebody presses Ctrl-C in the second trial."""

    fits = 0

    def fit(self, *given: Any) -> Any:
        """As `Compute`."""
        self.fits += 1
        if self.fits > FOLDS + 1:
            raise KeyboardInterrupt
        return super().fit(*given)


def test_ctrl_c_keeps_what_is_done(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """The search ends in order with the trials that are over, and goes on later; the loop's locks
    are free all the while, and autolog leaves no address behind."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    place = write_loop(tmp_path, 4, recipe="lightgbm")
    make_mlflow_tables(place.settings.home_folder)

    def take_lock(done: int, _: int) -> None:
        with place.open().training_lock("test"), place.open().lock("test"):
            pass

    stopped = search_shop(place, Interrupted(), on_progress=take_lock)
    assert (stopped.stopped, len(stopped.trials)) == (True, 1)
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
    assert sorted(run.info.status for run in runs_of(place)) == ["FINISHED", "KILLED", "KILLED"]
    found = search_shop(place, trials=2)
    assert (found.stopped, found.before, len(found.trials)) == (False, 1, 2)
    assert {run.info.status for run in runs_of(place)} == {"FINISHED"}


def test_what_has_no_parameters_ends_a_search(tmp_path: Path) -> None:
    """Estimators of the user's own are fitted as they are, on each history, and that is all."""
    mine = {"mine": Recipe(estimator="mine:build")}
    study = Study(tmp_path / "s.db", "s", recipes=mine, histories=("all", "recent"), seed=1)
    assert (study.count_wanted(20), study.count_wanted(1)) == (2, 1)
    assert study.ask(1) == Choice("mine", "recent", mine["mine"], changed=False)


def test_a_trial_that_was_measured_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after its score was kept, before Optuna knew that it is over, it is not run again."""
    given: Any = {"recipes": {"logistic": Recipe("logistic")}, "histories": ("all",), "seed": 1}
    study, trial = (
        Study(tmp_path / "s.db", "s", **given),
        Trial(0, "x", "all", False, {}, 0.7, (0.7,)),
    )
    study.ask(0)
    monkeypatch.setattr(study, "_finish", lambda number, trial: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        study.tell(trial)
    again = Study(tmp_path / "s.db", "s", **given)
    assert again.trials == (trial,)
    assert again._study.best_value == 0.7


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """Trials that cannot be read cost time only: the error says to delete them."""
    (tmp_path / "experiment.db").write_text("no database, but long enough for a page of one" * 99)
    with pytest.raises(StoreError, match="delete it, which only costs time"):
        Study(tmp_path / "experiment.db", "s", recipes={}, histories=("all",), seed=1)


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installed no extra is told which one it takes."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModelError, match=r"pip install 'closedloop\[experiment\]'"):
        Study(tmp_path / "s.db", "s", recipes={}, histories=("all",), seed=1)


def test_one_labelled_window_is_too_few(tmp_path: Path) -> None:
    """There is nothing to score on, and the error says what to wait for."""
    with pytest.raises(SourceError, match=r"at least 2 labelled windows.*got 1: wait"):
        search(write_loop(tmp_path, 1).open())
