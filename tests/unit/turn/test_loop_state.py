"""What the loop remembers of earlier windows, as it is read back from the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import ReplayParts
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.decisions.evidence import LoopState
from closedloop.storage.details import DriftFacts, TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.history import History
from tests.unit.streams import make_frame, make_past

OVER, BELOW, BLANK, BROKEN = True, False, None, "broken"


def _remember(folder: Path, marks: list[bool | str | None], window: str) -> LoopState:
    """The state before the turn of a window, when w0, w1, ... left these marks."""
    past = make_past(folder, {f"w{number}": make_frame(number, rows=5) for number in range(7)})
    engine = open_engine("sqlite://")
    try:
        journal = Journal(engine)
        for number, mark in enumerate(marks):
            action = Action.ESCALATE if mark == BROKEN else Action.KEEP
            decision = Decision(Kind.RETRAINING, action, f"w{number}", ())
            journal.write(
                f"turn {number}",
                "shop",
                decision,
                details=TurnDetails()
                if isinstance(mark, str)
                else TurnDetails(drift=DriftFacts(drift_over=mark, loss_over=False)),
            )
        return History(
            ReplayParts(
                past.use_case, past.as_of(window), journal, MemoryRegistry("shop"), past.compute
            ),
            window,
        ).state()
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("marks", "window", "since"),
    [
        pytest.param([], "w0", None, id="nothing was seen"),
        pytest.param([BELOW, BELOW], "w2", None, id="no drift"),
        pytest.param([BELOW, OVER, OVER], "w3", 1, id="drift that goes on"),
        pytest.param([OVER, OVER], "w2", 0, id="drift from the beginning"),
        pytest.param([OVER, OVER, BELOW], "w3", None, id="drift that is over"),
        pytest.param([OVER, BELOW, OVER], "w3", 2, id="drift that came back"),
        pytest.param(
            [BELOW, OVER, BROKEN, BLANK, OVER],
            "w5",
            1,
            id="a broken window and one that was not measured do not end it",
        ),
        pytest.param([BELOW, BROKEN, BLANK, OVER], "w4", 3, id="nor do they begin it"),
        pytest.param([BELOW, OVER, BELOW, OVER], "w2", 1, id="an old window is played again"),
    ],
)
def test_a_drift_episode_is_read_from_the_journal(
    tmp_path: Path, marks: list[bool | str | None], window: str, since: int | None
) -> None:
    """`drifting_since` is where the newest run of drifting windows began, of those before the
    window of the turn."""
    state = _remember(tmp_path, marks, window)
    assert state.drifting_since == since
    assert state.drift_marks == tuple(
        mark for mark in marks[: int(window[1:])] if isinstance(mark, bool)
    )
