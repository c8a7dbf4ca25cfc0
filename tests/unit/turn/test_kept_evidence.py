"""What a turn keeps in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.registry.runs import REPORT
from closedloop.turn.distributions import DISTRIBUTIONS_FILE, read_distributions
from closedloop.turn.history import History
from closedloop.turn.kept_evidence import keep_evidence
from closedloop.turn.open import open_loop
from closedloop.turn.take_turn import take_turn
from tests.turned_loop import make_month, write_loop

pytestmark = pytest.mark.slow


def test_a_turn_keeps_the_distributions_that_drift_was_measured_on(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Each watched column is there, with the rows of both sides, and the journal has the interval
    of the realised AUC."""
    made = write_loop(tmp_path, 2)
    make_mlflow_tables(made.settings.home_folder)
    made.train("2026-01")
    loop = made.open()
    entry = take_turn(History(loop, "2026-02"), keep_report=keep_evidence)
    run = entry.turn.run
    assert run is not None
    assert run.run is not None
    kept = read_distributions(loop.registry.read_run_file(run.run, DISTRIBUTIONS_FILE))
    columns = {column.column: column for column in kept.columns}
    assert set(columns) == {"spend", "plan", "active", "visits", "(prediction)", "(target)"}
    assert columns["spend"].current.rows == 300
    assert columns["spend"].edges
    assert set(columns["plan"].categories) == {"basic", "gold"}
    realised = entry.turn.realised
    assert realised is not None
    assert realised.realised_lower is not None
    assert realised.realised_upper is not None
    assert realised.realised_auc is not None
    assert realised.realised_lower < realised.realised_auc < realised.realised_upper
    assert realised.realised_rows == 300


@pytest.mark.parametrize(
    ("shift", "windows", "drawn"),
    [(0, "drifted", False), (40, "drifted", True), (0, "all", True)],
    ids=["quiet", "drifted", "quiet, but all are wanted"],
)
def test_the_page_is_drawn_where_a_column_drifted(
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
    shift: float,
    windows: str,
    drawn: bool,
) -> None:
    """A quiet window has its numbers and distributions, and Evidently's page only on request; the
    journal links to the page or else to the run."""
    made = write_loop(tmp_path, 1)
    make_mlflow_tables(made.settings.home_folder)
    made.train("2026-01")
    month = make_month(2)
    month.assign(spend=month["spend"] + shift).to_csv(tmp_path / "2026-02.csv", index=False)
    settings = made.settings.model_copy(update={"report_windows": windows})
    loop = open_loop(made.path, settings=settings)
    entry = take_turn(History(loop, "2026-02"), keep_report=keep_evidence)
    run = entry.turn.run
    assert run is not None
    assert run.run is not None
    assert entry.turn.drift is not None
    assert bool(entry.turn.drift.drifted_columns) is (shift > 0)
    assert loop.registry.read_run_file(run.run, DISTRIBUTIONS_FILE)
    assert (loop.registry.local_file(run.run, REPORT) is not None) is drawn
    assert (run.report or "").endswith(REPORT if drawn else f"{run.run}/artifacts")
    assert loop.registry.count_files(REPORT) == drawn
