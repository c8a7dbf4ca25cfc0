"""Copies and tiny windows start nothing: no training, no promotion, and nothing is learnt twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import Past, ReplayParts, Stream, fit_first
from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.retraining import DRIFT_OVER, decide_retraining
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.candidate import fit_candidate
from closedloop.turn.history import History
from closedloop.turn.observe import observe_window
from tests.unit.streams import CONTENT, Frames, make_frame, make_use_case

pytestmark = pytest.mark.slow


def open_history(folder: Path, frames: dict[str, pd.DataFrame], window: str) -> History[Any]:
    """A window while version 1, trained on the first window, is production.

    What newer labels would have gained is not asked, so that drift and a loss decide.
    """
    rules = {**CONTENT["policy"]["retraining"], "gain_trigger": False}
    policy = {**CONTENT["policy"], "retraining": rules, "quarantine": {"max_auc_drop": 1}}
    use_case = make_use_case(folder, key="order", labels={"delay_windows": 0}, policy=policy)
    past = Past(Stream(Frames(frames)), use_case, CachedCompute(), 1)
    registry = MemoryRegistry("shop")
    registry.promote(registry.add(fit_first(past), "2026-01"), instead_of=None, reason="installed")
    journal = Journal(open_engine("sqlite://"))
    return History(
        ReplayParts(use_case, past.as_of(window), journal, registry, past.compute), window
    )


def month(number: int, rows: int = 400, **changes: float) -> pd.DataFrame:
    """Orders with keys of their own."""
    return make_frame(number, rows=rows, **changes).assign(
        order=[f"o{number}-{place}" for place in range(rows)]
    )


def decide(history: History[Any]) -> Decision:
    return decide_retraining(observe_window(history).evidence, history.loop.use_case.policy)


@pytest.mark.parametrize("copy", ["2026-01 (1)", "2026-02_final"])
def test_a_copy_escalates_and_names_its_original(tmp_path: Path, copy: str) -> None:
    """Whether its rows are the same or changed: a person says which of the two is right."""
    frames = {"2026-01": month(1), "2026-02": month(2), copy: month(7, slope=-1.0)}
    decision = decide(open_history(tmp_path, frames, copy))
    assert decision.action is Action.ESCALATE
    assert decision.reason == (
        f"(window) breaks the contract (copy): wanted each window once, got {copy}, by its name a "
        f"copy of {copy[:7]}: move one of the two out of the folder, or narrow `windows` in "
        "[source]"
    )


def test_no_model_learns_from_a_copy(tmp_path: Path) -> None:
    """The candidate of March learns from January once."""
    frames = {
        "2026-01": month(1),
        "2026-01 (1)": month(1),
        "2026-02": month(2),
        "2026-03": month(3),
    }
    candidate = fit_candidate(open_history(tmp_path, frames, "2026-03"))
    assert [window.name for window in candidate.refitted] == ["2026-01", "2026-02", "2026-03"]


@pytest.mark.parametrize(("rows", "action"), [(40, Action.KEEP), (400, Action.RETRAIN)])
@pytest.mark.parametrize("changes", [{"shift": 3.0}, {"slope": 0.0}])
def test_forty_rows_start_no_training(
    tmp_path: Path, rows: int, action: Action, changes: dict[str, float]
) -> None:
    """Neither by drift nor by a loss, though labels of other months would allow a training; the
    same change in 400 rows does. The check says why."""
    frames = {"2026-01": month(1), "2026-02": month(2), "2026-05": month(5, rows, **changes)}
    decision = decide(open_history(tmp_path, frames, "2026-05"))
    assert decision.action is action
    claim = DRIFT_OVER if "shift" in changes else "realised AUC fell by more than its limit"
    (check,) = [check for check in decision.checks if check.claim == claim]
    assert ("on 40 rows, fewer than min_rows = 50" in check.got) == (rows == 40)
