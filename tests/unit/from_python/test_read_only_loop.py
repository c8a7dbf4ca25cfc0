"""What a use case shows in Python: the loop's own numbers, and nothing that moves."""

from __future__ import annotations

import inspect
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from closedloop import open_loop
from closedloop.bundle.frames import score_frame
from closedloop.errors import ModelError, RegistryError, SourceError, UseCaseError
from closedloop.from_python.read_only_loop import ReadOnlyLoop
from closedloop.turn.history import History
from closedloop.turn.window_drift import measure_window_drift
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow

KNOWN, NEWEST = ("2026-01", "2026-02"), "2026-04"


@pytest.fixture(scope="module")
def turned(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    """Four months, the last without labels; version 1 was trained on the first two."""
    place = write_loop(tmp_path_factory.mktemp("shop"), 3)
    make_month(4).drop(columns="left").to_csv(place.folder / f"{NEWEST}.csv", index=False)
    make_mlflow_tables(place.settings.home)
    assert place.train("2026-02").decision.version == 1
    return place


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """What opening a loop says to libraries ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def loop(turned: TurnedLoop) -> ReadOnlyLoop:
    return open_loop(turned.folder, home=turned.settings.home)


@pytest.fixture
def mine(loop: ReadOnlyLoop) -> Any:
    """A classifier of what a customer spends, fitted on what version 1 knows."""
    known = pd.concat([loop.window(name) for name in KNOWN])
    spend = make_column_transformer((SimpleImputer(), ["spend"]))
    return make_pipeline(spend, LogisticRegression()).fit(known[loop.features], known["left"])


def contents(home: Path) -> list[str]:
    """Every row of every table of journal, records and MLflow."""
    found: list[str] = []
    for name in ("closedloop.db", "mlflow.db"):
        with closing(sqlite3.connect(home / name)) as database:
            found += database.iterdump()
    return found


def test_nothing_moves(turned: TurnedLoop, loop: ReadOnlyLoop, mine: Any) -> None:
    """After every method was called, each table of journal, records and MLflow is as before, other
    users of the machine may read nothing new, and the process makes files as before."""
    calls: dict[str, Callable[[], object]] = {
        "windows": loop.windows,
        "window": loop.window,
        "violations": loop.violations,
        "drift": loop.drift,
        "compare": lambda: loop.compare(mine, 1),
        "try_recipe": lambda: loop.try_recipe("logistic", "2026-03"),
        "backtest": lambda: loop.backtest(["static", "loop"], first_windows=1),
        "decisions": loop.decisions,
        "decision": lambda: loop.decision(1),
        "predict": lambda: loop.predict(loop.window()),
    }
    methods = inspect.getmembers(ReadOnlyLoop, inspect.isfunction)
    assert {name for name, _ in methods if not name.startswith("_")} == set(calls)
    home, umask = turned.settings.home, os.umask(0o022)
    try:
        before = contents(home)
        for call in calls.values():
            call()
        assert contents(home) == before
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(umask)
    made = [path for path in (home / "backtest").rglob("*") if path.is_file()]
    assert made
    assert not any(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) for path in made)


def test_a_window_is_what_models_see(loop: ReadOnlyLoop) -> None:
    """Features in their order, key and target; classes as loop.toml spells them, None where no
    label has come."""
    assert loop.windows() == (*KNOWN, "2026-03", NEWEST)
    frame = loop.window("2026-01")
    assert list(frame.columns) == [*loop.features, "customer", "left"]
    assert set(frame["left"]) == {"no", "yes"}
    assert set(frame["active"]) == {"True", "False"}
    assert frame["spend"].dtype == np.float64
    assert "left" not in loop.window()
    assert loop.violations() == ()


def test_drift_is_that_of_the_turn(turned: TurnedLoop, loop: ReadOnlyLoop) -> None:
    """Against production the numbers, and drift_share, are those that a turn measures; against a
    window there are no predictions."""
    history = History(turned.open(), "2026-03")
    report, _ = measure_window_drift(history, history.read("2026-03"))
    drift = loop.drift("2026-03")
    assert drift["drifted"].mean() == report.drift_share
    assert [tuple(row) for row in drift[["score", "limit"]].itertuples()] == [
        (column.column, column.score, column.limit) for column in report.columns
    ]
    other = loop.drift("2026-01", reference="2026-03")
    assert set(drift.index) - set(other.index) == {"(prediction)"}
    # All that changes from month to month is how surely customers who spend little leave.
    assert not other.loc[loop.features, "drifted"].any()


def test_two_models_are_compared_on_the_same_rows(loop: ReadOnlyLoop, mine: Any) -> None:
    """Delta is the difference of the two AUCs on the newest labelled window, and turns round with
    the models; by default the window without labels is passed over."""
    found, turned_round = loop.compare(mine, 1), loop.compare(1, mine)
    frame = loop.window("2026-03")
    scores = [
        mine.predict_proba(frame[loop.features])[:, 1],
        score_frame(loop._loop.registry.load(1).scorer, frame)[:, 1],
    ]
    ours, theirs = (roc_auc_score(frame["left"] == "yes", each) for each in scores)
    assert (found.window, found.rows, found.measure) == ("2026-03", 300, "AUC")
    assert found.delta is not None
    assert found.delta.value == pytest.approx(ours - theirs)
    assert found.delta.lower < found.delta.value < found.delta.upper
    assert turned_round.delta is not None
    assert turned_round.delta.value == -found.delta.value
    assert found.as_frame().loc["val_auc"].to_list() == pytest.approx([ours, theirs])
    by_class = found.by_class()
    assert by_class["", "rows"].to_dict() == frame["left"].value_counts().to_dict()
    assert by_class.loc["yes", ("second", "f1")] == found.second.f1


def test_classes_are_found_by_name(loop: ReadOnlyLoop, mine: Any) -> None:
    """The order of a classifier's classes does not matter; numbers for names, other classes,
    what is no classifier, and what has seen the target are refused."""

    class TurnedRound:
        classes_ = mine.classes_[::-1]

        def predict_proba(self, rows: Any) -> Any:
            return mine.predict_proba(rows)[:, ::-1]

    found = loop.compare(TurnedRound(), mine)
    assert found.delta is not None
    assert (found.delta.value, found.delta.upper) == (0.0, 0.0)
    frame = loop.window("2026-01")
    features, labels = frame[["spend"]].fillna(0), frame["left"] == "yes"
    for model, got in (
        (DummyClassifier().fit(features, labels.astype(int)), "classes 0, 1"),
        (DummyClassifier().fit(features, np.arange(300) % 3), "classes 0, 1, 2"),
        (LinearRegression().fit(features, labels), "LinearRegression without classes_"),
        (DummyClassifier().fit(frame, frame["left"]), "one that needs customer, left"),
    ):
        with pytest.raises(ModelError, match=got):
            loop.compare(model, mine)


def test_rows_that_a_version_knows_judge_nothing(
    turned: TurnedLoop, loop: ReadOnlyLoop, mine: Any
) -> None:
    """A window that it was trained on is refused; rows of such a window that come again are left
    out, and told; a window without labels is refused."""
    with pytest.raises(ModelError, match=r"not trained on, got 2026-02"):
        loop.compare(mine, 1, "2026-02")
    assert loop.compare(mine, mine, "2026-02").rows == 300
    with pytest.raises(SourceError, match=f"{NEWEST} without any"):
        loop.compare(mine, 1, NEWEST)
    again = turned.folder / "2026-05.csv"
    try:
        pd.concat([make_month(1).head(40), make_month(5)]).to_csv(again, index=False)
        found = loop.compare(mine, 1, "2026-05")
        assert found.rows == 300
        assert found.left_out is not None
        assert (found.left_out.rows, found.left_out.earlier) == (40, ("2026-01",))
    finally:
        again.unlink()


def test_scores_are_those_of_production(loop: ReadOnlyLoop) -> None:
    """With the index of the rows; raw values are read like those of a window. A broken table is
    warned of, an incomplete one is refused."""
    raw = make_month(6, 50).drop(columns=["left", "visits"]).set_index("customer", drop=False)
    scored = loop.predict(raw)
    prepared = loop.predict(loop.window(NEWEST))
    assert scored.index.equals(raw.index)
    assert list(scored) == ["prediction", "probability_no", "probability_yes", "version"]
    assert set(scored["version"]) == {1}
    model = loop._loop.registry.load(1)
    expected = score_frame(model.scorer, loop.window(NEWEST))[:, 1]
    assert prepared["probability_yes"].to_numpy() == pytest.approx(expected, abs=1e-5)
    with pytest.warns(UserWarning, match="do not trust their scores: plan"):
        loop.predict(raw.assign(plan="silver"))
    with pytest.raises(SourceError, match="no spend"):
        loop.predict(raw.drop(columns="spend"))


def test_decisions_and_backtests_are_frames(loop: ReadOnlyLoop) -> None:
    """A row for each decision by its id, with the entry behind it, and a policy's figures."""
    decisions = loop.decisions()
    assert list(decisions["action"]) == ["retrain", "promote"]
    assert decisions["version"].fillna(0).tolist() == [0, 1]
    assert loop.decision(decisions.index[-1]).decision.reason == decisions["reason"].iloc[-1]
    found = loop.backtest(["static"], first_windows=1)
    assert pd.DataFrame(found.figures)["policy"].tolist() == ["static"]


def test_a_new_home_is_empty_and_says_so(
    turned: TurnedLoop,
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No production, no decisions; what needs production says what to do. The home of the
    environment is used where none is given."""
    make_mlflow_tables(tmp_path / "home")
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    loop = open_loop(turned.path)
    assert loop.production is None
    assert loop.decisions().empty
    for call in (loop.drift, lambda: loop.predict(loop.window())):
        with pytest.raises(RegistryError, match="a production model, got none"):
            call()
    assert set(loop.drift(reference="2026-01").index) == set(loop.features)


def test_a_wrong_setting_is_named(turned: TurnedLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the commands: with the variable, and not as an error of a library."""
    monkeypatch.setenv("CLOSEDLOOP_PORT", "eighty")
    with pytest.raises(UseCaseError, match="CLOSEDLOOP_PORT: wanted a valid integer"):
        open_loop(turned.folder)


def test_opening_leaves_prefect_alone(turned: TurnedLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook may talk to a Prefect of its own; telemetry is off unless something is set."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DO_NOT_TRACK", "mine")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    open_loop(turned.folder, home=turned.settings.home)
    assert os.environ["DO_NOT_TRACK"] == "mine"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert not [name for name in os.environ if name.startswith("PREFECT")]


def test_a_classifier_answers_from_the_threshold_of_a_candidate(
    turned: TurnedLoop, loop: ReadOnlyLoop, mine: Any, tmp_path: Path
) -> None:
    """With `threshold` under [decision] a classifier says yes from there on; a version keeps what
    it was registered with, and AUC does not change."""
    text = turned.path.read_text(encoding="utf-8").replace("[source]", "[source]\nroot = 'rows'")
    (tmp_path / "loop.toml").write_text(f"{text}\n[decision]\nthreshold = 0.2\n", encoding="utf-8")
    (tmp_path / "rows").symlink_to(turned.folder)
    usual = loop.compare(mine, 1)
    sooner = open_loop(tmp_path, turned.settings.home).compare(mine, 1)
    assert sooner.delta == usual.delta
    assert sooner.second.confusion == usual.second.confusion
    frame = loop.window("2026-03")
    says_yes = int((mine.predict_proba(frame[loop.features])[:, 1] >= 0.2).sum())
    assert sum(line[1] for line in sooner.first.confusion) == says_yes
    assert says_yes > sum(line[1] for line in usual.first.confusion)
