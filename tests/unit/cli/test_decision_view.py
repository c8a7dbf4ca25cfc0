"""What a terminal shows of a decision beyond its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pandas as pd
from rich.console import Console

from closedloop.cli.decision_view import show_decision
from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.storage.details import TurnDetails, read_details, write_details
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.compute import Compute
from closedloop.turn.observe import describe_window
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.sources import NOTES

SAID = "12 answers were followed by a newer answer for the same key: the newest of each counts"


class ToldSource:
    """One window, with something to know about its reading."""

    def windows(self) -> tuple[str, ...]:
        return ("w1",)

    def read(self, window: str) -> pd.DataFrame:
        frame = pd.DataFrame({"spend": [1.0, 2.0], "left": ["True", None]})
        frame.attrs[NOTES] = (SAID,)
        return frame


def test_what_a_source_said_of_a_window_is_shown(tmp_path: Path) -> None:
    """A sentence about the reading of a window goes with its facts through the journal to whoever
    ran the turn, even when nothing follows from it."""
    content = {
        "name": "shop",
        "target": {"column": "left", "classes": ["False", "True"]},
        "columns": {"spend": {"type": "numeric"}},
        "source": {"query": "select 1", "windows": "*.csv"},
    }
    use_case = parse_use_case(content, tmp_path / "loop.toml")
    read = Compute().read_window(ToldSource(), "w1", 0, use_case, None)
    details = TurnDetails(3, window=describe_window(read))
    kept = read_details(TurnDetails, write_details(details))
    check = Check("drift", Outcome.FAILS, Role.TRIGGER, "over 0.5", "0.1")
    decision = Decision(Kind.RETRAINING, Action.KEEP, "w1", (check,))
    entry = Entry(
        1, "key", "shop", decision, kept, Origin.LOOP, None, datetime(2026, 1, 1, tzinfo=UTC)
    )
    text = StringIO()
    show_decision(Console(file=text, width=300), entry)
    assert SAID in text.getvalue()
