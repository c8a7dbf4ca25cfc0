"""What a window is compared with: the rows of production, the window before, or last year's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import Past, ReplayParts, Stream, fit_first, replay
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.decisions.drift_report import DriftReport
from closedloop.storage.details import TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.history import History
from closedloop.turn.take_turn import take_turn
from closedloop.turn.watched_columns import PREDICTION, TARGET
from closedloop.turn.window_drift import find_reference, measure_window_drift
from tests.unit.streams import CONTENT, Frames, make_frame, make_use_case

pytestmark = pytest.mark.slow

MONTHS = [f"{year}-{month:02}" for year in (2024, 2025) for month in range(1, 13)]


class Noting(CachedCompute):
    """Keeps what each comparison was asked for."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.asked: list[dict[str, Any]] = []

    def measure_drift(self, *sides: Any, **options: Any) -> Any:
        self.asked.append(options)
        return super().measure_drift(*sides, **options)


def make_months(rows: int = 200, without: tuple[str, ...] = ()) -> dict[str, pd.DataFrame]:
    """Two years in which people spend more in summer, the same in both."""
    return {
        name: make_frame(number, shift=-1.5 * np.cos(2 * np.pi * number / 12), rows=rows)
        for number, name in enumerate(MONTHS)
        if name not in without
    }


def open_history(
    folder: Path,
    reference: str,
    window: str,
    frames: Mapping[str, pd.DataFrame] | None = None,
    first: int = 3,
) -> History[Any]:
    """A window while version 1, trained on the first months, is production."""
    drift = {**CONTENT["policy"]["drift"], "reference": reference}
    use_case = make_use_case(folder, policy={**CONTENT["policy"], "drift": drift})
    past = Past(Stream(Frames(frames or make_months())), use_case, Noting(), first)
    registry = MemoryRegistry("shop")
    registry.promote(registry.add(fit_first(past), "2024-03"), instead_of=None, reason="installed")
    journal = Journal(open_engine("sqlite://"))
    return History(
        ReplayParts(use_case, past.as_of(window), journal, registry, past.compute), window
    )


def measure(history: History[Any]) -> DriftReport:
    return measure_window_drift(history, history.read(history.window))[0]


REFERENCES = [
    ("training", "2025-07", None),
    ("previous", "2025-07", "2025-06"),
    ("season:12", "2025-07", "2024-07"),
    ("season:3", "2025-07", "2025-04"),
    ("season:18", "2025-07", "2024-01"),
    ("season:2", "2024-05", "2024-03"),
]


@pytest.mark.parametrize(("reference", "window", "wanted"), REFERENCES)
def test_each_reference_names_its_window(
    tmp_path: Path, reference: str, window: str, wanted: str | None
) -> None:
    """Its rows are compared, and the report has its name; the training rows are those of a
    version."""
    history = open_history(tmp_path, reference, window)
    found, report = find_reference(history, window), measure(history)
    assert found.window == report.reference_window == wanted
    assert report.reference == (wanted or "version 1")
    assert report.note == ""
    assert history.loop.compute.asked[-1]["limits_from_both"] == (wanted is not None)
    rows = 600 if wanted is None else 200
    assert (report.reference_rows, report.current_rows) == (rows, 200)
    if wanted is not None:
        spend = history.read(wanted).prepared["spend"].to_numpy()
        np.testing.assert_array_equal(found.rows["spend"].to_numpy(), spend)


def test_summer_drifts_from_spring_and_not_from_last_summer(tmp_path: Path) -> None:
    """The same July is far from the months that production learned from, and near July a year
    before."""
    found = {
        reference: measure(open_history(tmp_path, reference, "2025-07")).drifted_columns
        for reference in ("training", "season:12")
    }
    assert "spend" in found["training"]
    assert "spend" not in found["season:12"]


@pytest.mark.parametrize("reference", ["season:12", "season:19"])
def test_a_season_longer_than_the_history_says_so(
    tmp_path: Path, reference: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The training rows stand in; report, log and journal say why."""
    window = "2024-12" if reference == "season:12" else "2025-07"
    history = open_history(tmp_path, reference, window)
    with caplog.at_level(logging.INFO, "closedloop.turn.window_drift"):
        entry = take_turn(history)
    note = (
        f"{window} is compared with what version 1 was trained on: "
        f"there is no window {reference.removeprefix('season:')} places before it"
    )
    report = measure(history)
    assert (report.reference, report.reference_window, report.note) == ("version 1", None, note)
    assert note in caplog.messages
    assert note in entry.turn.notes
    assert entry.turn.drift is not None
    assert entry.turn.drift.drift_reference is None


def test_the_journal_names_the_reference(tmp_path: Path) -> None:
    """And so does the check on drift, which only informs where the gain is known."""
    shifted = make_months()
    shifted["2025-07"] = make_frame(99, shift=-1.5, rows=200)  # as in January
    entry = take_turn(open_history(tmp_path, "season:12", "2025-07", shifted))
    assert entry.turn.drift is not None
    assert entry.turn.drift.drift_reference == "2024-07"
    told = " ".join(str(check) for check in entry.decision.checks)
    assert "against 2024-07 is over its limit" in told


def test_a_missing_month_moves_no_season(tmp_path: Path) -> None:
    """July is compared with July although a month between is missing; where last July itself is
    missing, with the training rows."""
    between = make_months(without=("2024-11", "2025-02"))
    assert (
        find_reference(open_history(tmp_path, "season:12", "2025-07", between), "2025-07").window
        == "2024-07"
    )
    gone = open_history(tmp_path, "season:12", "2025-07", make_months(without=("2024-07",)))
    found = find_reference(gone, "2025-07")
    assert found.window is None
    assert found.note.endswith("there is no window 12 places before it")
    before = open_history(tmp_path, "previous", "2025-07", make_months(without=("2025-06",)))
    assert find_reference(before, "2025-07").window == "2025-05"


def test_a_broken_window_is_no_reference(tmp_path: Path) -> None:
    """The newest whole window stands in for the one before; for last July nothing does but the
    training rows."""
    broken = make_months()
    for name in ("2025-06", "2024-07"):
        broken[name] = broken[name].drop(columns="spend")
    previous = open_history(tmp_path, "previous", "2025-07", broken)
    assert find_reference(previous, "2025-07").window == "2025-05"
    season = find_reference(open_history(tmp_path, "season:12", "2025-07", broken), "2025-07")
    assert season.window is None
    assert season.note.endswith("2024-07 breaks the contract")


def test_the_first_window_has_none_before_it(tmp_path: Path) -> None:
    """An old window that is looked at again is compared with what production was trained on."""
    for reference in ("previous", "season:2"):
        found = find_reference(open_history(tmp_path, reference, "2024-05"), "2024-01")
        assert found.window is None
        assert found.note


@pytest.mark.parametrize(("window", "known"), [("2024-05", True), ("2024-08", False)])
def test_predictions_are_compared_only_on_rows_that_production_does_not_know(
    tmp_path: Path, window: str, known: bool
) -> None:
    """Otherwise they are those of production on both sides; the report says why they are left
    out."""
    history = open_history(tmp_path, "season:2", window)
    found, report = find_reference(history, window), measure(history)
    (prediction,) = [column for column in report.columns if column.column == PREDICTION]
    if known:
        assert found.rows[PREDICTION].isna().all()
        assert prediction.score is None
        assert "too sure" in prediction.note
    else:
        asked = history.answers("2024-06")[:, 1]
        np.testing.assert_array_equal(found.rows[PREDICTION].to_numpy(), asked)
        assert prediction.score is not None
        assert prediction.note == ""


def test_labels_in_quarantine_are_no_reference(tmp_path: Path) -> None:
    """The target of a window whose labels are not trusted is not compared; its features are."""
    history = open_history(tmp_path, "season:2", "2024-08")
    assert find_reference(history, "2024-08").rows[TARGET].notna().all()
    decision = Decision(Kind.QUARANTINE, Action.QUARANTINE, "2024-06", ())
    history.loop.journal.write("key", "shop", decision, details=TurnDetails())
    again = History(history.loop, "2024-08")
    assert find_reference(again, "2024-08").rows[TARGET].isna().all()
    assert find_reference(again, "2024-08").window == "2024-06"


def test_nothing_newer_is_read(tmp_path: Path) -> None:
    """The window before one that is looked at again is older than it, whatever came later."""
    history = open_history(tmp_path, "previous", "2025-07")
    assert find_reference(history, "2024-09").window == "2024-08"


def test_a_replay_measures_closed_windows_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run takes every report from the cache, names included, and decides the same."""
    from closedloop.metrics import drift

    measured = []

    def count(*sides: Any, **options: Any) -> Any:
        measured.append(options["current_name"])
        return real(*sides, **options)

    real = drift.measure_drift
    monkeypatch.setattr(drift, "measure_drift", count)
    runs = []
    for _ in range(2):
        history = open_history(tmp_path, "season:12", "2025-07")
        compute = Noting(tmp_path / "cache")
        past = Past(Stream(Frames(make_months())), history.loop.use_case, compute, 3)
        measured.clear()
        rounds = replay(past, Brain(), fit_first(past), until=15)
        names = [(asked["reference_name"], asked["current_name"]) for asked in compute.asked]
        runs.append((rounds, names, len(measured)))
    assert ("2024-04", "2025-04") in runs[0][1]
    assert runs[0][:2] == runs[1][:2]
    assert runs[0][2] > 0
    assert runs[1][2] == 0
