"""`closedloop status` of several use cases."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.open import open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, write_request
from tests.turned_loop import write_loop


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own; the environment is put back afterwards."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    os.environ.clear()
    os.environ.update(before)


def write_one(folder: Path, name: str) -> Path:
    path = write_loop(folder, 3).path
    path.write_text(path.read_text().replace('name = "shop"', f'name = "{name}"'))
    return path


@pytest.mark.slow
def test_each_has_a_line_and_none_hides_another(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    make_mlflow_tables: Callable[[Path], None],
) -> None:
    """Production, recipe, val_auc and the newest decision; a file that cannot be read and a second
    one of the same name have a line with the reason, and the exit code is that of the first."""
    live, idle = write_one(tmp_path / "live", "live"), write_one(tmp_path / "idle", "idle")
    again, none = write_one(tmp_path / "again", "live"), tmp_path / "none"
    make_mlflow_tables(tmp_path / "home")
    history = History(open_loop(live, settings=Settings.read(os.environ))).look()
    retrain(history, write_request(history), propose=propose_candidate)
    monkeypatch.setenv("CLOSEDLOOP_USE_CASES", f"{live},{none},{idle},{again}")
    capsys.readouterr()
    assert main(["status"], os.environ) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("live: production is version 1 (logistic/recent, val_auc 0.")
    assert "2026-03: promote (decision " in lines[0]
    assert lines[1].startswith(f"{none}: use case: wanted a loop.toml file")
    assert lines[2] == "idle: no production model yet: closedloop monitor"
    assert "wanted use cases with different names" in lines[3]
    assert main(["status", "--json"], os.environ) == 2
    facts = json.loads(capsys.readouterr().out)
    assert [(each["use_case"], each.get("production")) for each in facts] == [
        ("live", 1),
        (None, None),
        ("idle", None),
        ("live", None),
    ]
    assert facts[0]["last_decision"]["action"] == "promote"
    assert [each.get("exit_code") for each in facts] == [None, 2, None, 2]
    assert main(["status", "--use-case", str(idle)], os.environ) == 0
    assert "records: 0 predictions" in capsys.readouterr().out


def test_a_registry_that_is_away_is_a_reason_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what was wanted and what to do; the exit code is that of the registry."""
    paths = [write_one(tmp_path / name, name) for name in ("one", "two")]
    monkeypatch.setenv("CLOSEDLOOP_USE_CASES", ",".join(map(str, paths)))
    monkeypatch.setenv("CLOSEDLOOP_MLFLOW_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["status"], os.environ) == 4
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["one", "two"]
    assert all("closedloop doctor" in line for line in lines)
