"""A turn over windows that are larger than the memory it may take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.decisions.checks import Action
from closedloop.decisions.notes import LEARNT_ROWS
from closedloop.turn.history import History
from closedloop.turn.observe import observe_window
from tests.turned_loop import make_month, write_loop

pytestmark = pytest.mark.slow
ROWS = 120_000


def test_the_loop_turns_on_samples_and_counts_all_rows(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """A version is promoted that learnt from as many rows as memory is for, the next window is
    measured, and the journal knows how many rows there were and how many were looked at."""
    turned = write_loop(tmp_path / "shop", 0)
    with turned.path.open("a", encoding="utf-8") as file:
        file.write('[compute]\nmemory = "512MiB"\n')
    for month in (1, 2, 3, 4):
        make_month(month, ROWS).to_csv(turned.folder / f"2026-0{month}.csv", index=False)
    make_mlflow_tables(turned.settings.home_folder)
    entry = turned.train("2026-03")
    assert entry.decision.action is Action.PROMOTE
    learnt = next(check for check in entry.decision.checks if check.claim == LEARNT_ROWS)
    loop = turned.open()
    kept = loop.use_case.compute.rows(len(loop.use_case.columns))
    assert 2 * kept < ROWS
    (version,) = loop.registry.versions()
    facts = loop.registry.load(version.version).facts
    assert facts.rows == pytest.approx(loop.use_case.compute.training_rows(4), abs=2)
    assert learnt.got == f"{facts.rows:,} of {3 * ROWS:,}"
    assert facts.trained_windows == ("2026-01", "2026-02", "2026-03")
    seen = observe_window(History(loop, "2026-04"))
    assert seen.details.window.rows == seen.details.window.labelled_rows == ROWS
    assert any(note.startswith(f"{kept:,} of {ROWS:,} rows") for note in seen.details.window.notes)
    assert seen.evidence.realised_auc is not None
    assert seen.evidence.realised_auc.rows == kept
    assert seen.evidence.drift is not None
