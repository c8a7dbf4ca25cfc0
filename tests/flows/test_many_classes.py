"""More than two classes go through everything: iris with three, and the demand for bicycles with
four."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.model.follower import Follower
from api.model.live import Production
from closedloop.backtest.run import open_past, run_backtest
from closedloop.cli.app import main
from closedloop.decisions.checks import Action, Kind
from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import EVIDENCE_FILE, read_evidence
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.synthetic import generate_windows, write_generated

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

REPOSITORY = Path(__file__).resolve().parents[2]
BIKE = REPOSITORY.parent / "shared/data/streams/bike.parquet"


def write_iris(folder: Path) -> Path:
    """The use case as it is shipped."""
    shutil.copytree(
        REPOSITORY / "data/iris", folder / "iris", ignore=shutil.ignore_patterns("generated")
    )
    path = folder / "iris/loop.toml"
    write_generated(load_use_case(path), None, generate_windows("iris", 3))
    return path


def write_bike(folder: Path) -> Path:
    """Three months, as `init` describes them, with the quicker recipe."""
    if not BIKE.is_file():
        pytest.skip("the streams are not beside this repository (../shared/data/streams)")
    rows = pd.read_parquet(BIKE)
    rows[rows["window"] < 3].to_parquet(folder / "bike.parquet")
    path = folder / "loop.toml"
    asked = ["--target", "target", "--window-column", "window", "--out", str(path)]
    assert main(["init", str(folder / "bike.parquet"), *asked], {}) == 0
    text = path.read_text(encoding="utf-8")
    assert "[training]" in text
    path.write_text(text.replace("[training]", '[training]\nrecipes = ["logistic"]'))
    return path


def ask_service(loop: Loop, row: dict[str, Any]) -> dict[str, Any]:
    """What the API answers for a row, with production as it is."""
    registry = loop.registry
    follower = Follower(
        Production(),
        registry.production,
        registry.load_proved,
        lambda version: None,
        follow_seconds=3600,
        now=lambda: datetime.now(UTC),
    )
    follower.follow_once()
    client = TestClient(create_app(follower, loop.records))
    answer = client.post("/predict", json={"rows": [row]})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["predictions"][0]
    return found


def newest_promotion(loop: Loop) -> Entry:
    """The decision on the newest candidate."""
    name = loop.use_case.name
    return loop.journal.history(name, kinds=[Kind.PROMOTION])[-1]


@pytest.mark.nightly
@pytest.mark.parametrize("write", [write_iris, write_bike])
def test_many_classes_go_through_everything(
    write: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Contract, drift, gates, ONNX, API, backtest and card; each class has its precision, recall
    and F1 wherever a candidate's scores stand."""
    from flows.monitor_flow import monitor_flow

    environment = {"CLOSEDLOOP_HOME": str(tmp_path / "home")}
    monkeypatch.setenv("CLOSEDLOOP_HOME", environment["CLOSEDLOOP_HOME"])
    path = write(tmp_path)
    loop = open_loop(path, settings=Settings(home=tmp_path / "home"))
    windows, classes = loop.source.windows(), loop.use_case.target.classes
    assert len(classes) >= 3
    for window in windows:
        monitor_flow(use_case=str(path), window=window)

    entry = newest_promotion(loop)
    assert entry.decision.action is Action.PROMOTE
    version = loop.registry.production()
    assert version == entry.decision.version
    assert {"(prediction)", "(target)"} <= watched(loop, windows[-1])
    scores = read_evidence(loop.registry.read_file(version, EVIDENCE_FILE)).comparison.candidate
    metrics = loop.registry._client.get_run(loop.registry.version(version).run_id).data.metrics
    for part in scores.classes:
        assert part.rows > 0
        for name in ("precision", "recall", "f1"):
            assert metrics[f"{name}_{part.label}"] == pytest.approx(getattr(part, name))

    model = loop.registry.load_proved(version)
    assert model.proof.served_by == "onnx"
    row = loop.source.read(windows[-1])[list(loop.use_case.columns)].iloc[0].to_dict()
    answer = ask_service(loop, row)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)

    for command in (["why", str(entry.id)], ["card", str(version)], ["try", "logistic"]):
        assert main([*command, "--use-case", str(path)], {**environment, "COLUMNS": "120"}) == 0
        printed = capsys.readouterr().out
        cells = [line.replace("|", " ").split()[:2] for line in printed.splitlines()]
        for part in scores.classes:
            assert any(line[:1] == [part.label] for line in cells), (command, part.label)
        assert f"{scores.val_auc:.4f} [" in printed or command[0] == "try"

    [figures] = run_backtest(open_past(loop, first=1), ["loop"]).figures
    assert figures.mean_auc is not None
    assert figures.mean_auc > 0.6


def watched(loop: Loop, window: str) -> set[str]:
    """The columns that drift is measured on in a window."""
    from closedloop.turn.history import History
    from closedloop.turn.window_drift import measure_window_drift

    history = History(loop, window)
    report, _ = measure_window_drift(history, history.read(window))
    return {column.column for column in report.columns if column.drifted is not None}
