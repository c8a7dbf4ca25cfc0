"""`closedloop why` keeps to its use case, and links to reports that are there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.settings import Settings
from closedloop.storage.details import RunFacts, TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from tests.answers import describe_answers
from tests.unit.cli.printed import sentence

TOML = """
name = "{name}"
target = {{ column = "left", classes = ["no", "yes"] }}
source = {{ windows = "*.csv" }}
columns.age.type = "numeric"
"""
PAGE = "http://127.0.0.1:5000/#/experiments/1/runs/abc/artifacts"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two use cases beside each other, shop and bank, and a decision of shop with a report."""
    before = dict(os.environ)
    for name in ("shop", "bank"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "loop.toml").write_text(TOML.format(name=name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOSEDLOOP_HOME", "home")
    monkeypatch.setenv("CLOSEDLOOP_USE_CASE", "bank")
    check = Check("drift", Outcome.FAILS, Role.TRIGGER, "over 0.5", "0.1")
    Journal(open_engine(Settings.read(os.environ).store_url)).write(
        "a key",
        "shop",
        Decision(Kind.RETRAINING, Action.KEEP, "w1", (check,)),
        details=TurnDetails(1, run=RunFacts("abc", f"{PAGE}/drift_report.html")),
    )
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (".", "closedloop why 1 --use-case {place}/shop/loop.toml"),
        ("elsewhere", "closedloop why 1 --use-case LOOP_TOML, with the loop.toml of shop"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_why_keeps_to_the_use_case_that_was_asked(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    moved: str,
    said: str,
    options: list[str],
) -> None:
    """A decision of another one is refused with its name, and with its loop.toml where that stands
    beside the one asked for."""
    (place / moved).mkdir(exist_ok=True)
    if moved != ".":
        (place / "shop").rename(place / moved / "shop")
    assert main(["why", "1", *options], os.environ) == 2
    refused = sentence(capsys.readouterr())
    assert "decision 1: wanted a decision of bank, got one of shop: " in refused
    assert refused.strip().endswith(said.format(place=place))
    assert main(["why", "1", "--use-case", str(place / moved / "shop"), "--json"], os.environ) == 0


@pytest.mark.usefixtures("place")
def test_why_links_to_a_report_that_it_cannot_ask_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An MLflow that is away does not keep a decision from being shown."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["why", "1", "--use-case", "shop"], os.environ) == 0
    shown = capsys.readouterr().out
    assert "runs/abc/artifacts/drift_report.html?workflowType=machine_learning" in shown
    assert "pruned" not in shown


@pytest.mark.parametrize("window", ["records_2026-11-20", "records_2026-11"])
def test_a_decision_says_that_its_labels_were_corrected_since(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    window: str,
) -> None:
    """`why` and `history` count the rows, for people and for programs; a decision that was made
    after the correction, or on another window, says nothing."""
    monkeypatch.setenv("COLUMNS", "200")
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    engine = open_engine(Settings.read(os.environ).store_url)
    records, journal = Records(engine, now=lambda: noon), Journal(engine, now=lambda: noon)
    numbers, classes = {"age": [1.0, 2.0]}, {"no": [0.2, 0.2], "yes": [0.8, 0.8]}
    request = describe_answers("shop", 1, numbers, classes, at=noon)
    records.append([request])
    records.label_many([Label("no", id=id) for id in request.ids])
    keep = Decision(Kind.RETRAINING, Action.KEEP, window, ())
    before = journal.write("before", "shop", keep)
    records.now = journal._now = lambda: noon + timedelta(hours=1)
    records.label_many([Label("yes", id=request.ids[0], replaces=True)])
    after = journal.write("after", "shop", keep)
    shop = ["--use-case", str(place / "shop")]
    assert main(["why", str(before.id), *shop], os.environ) == 0
    assert "labels of this window were corrected since: 1 row" in capsys.readouterr().out
    assert main(["why", str(after.id), *shop], os.environ) == 0
    assert "corrected since" not in capsys.readouterr().out
    assert main(["history", *shop], os.environ) == 0
    assert capsys.readouterr().out.count("corrected since") == 1
    assert main(["history", "--json", *shop], os.environ) == 0
    counts = {
        entry["id"]: entry["labels_corrected_since"]
        for entry in json.loads(capsys.readouterr().out)
    }
    assert counts == {1: 0, before.id: 1, after.id: 0}
