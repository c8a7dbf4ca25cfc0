"""What a turn keeps in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.turn.distributions import DISTRIBUTIONS_FILE, read_distributions
from closedloop.turn.history import History
from closedloop.turn.kept_evidence import keep_evidence
from closedloop.turn.take_turn import take_turn
from tests.turned_loop import write_loop

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
