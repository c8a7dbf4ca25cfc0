"""Quarantine is provisional: a real change of concept is learnt, wrong labels are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import Past, ReplayParts, Step, fit_first
from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.rows import Origin
from closedloop.turn.history import History
from closedloop.turn.observe import observe_window
from closedloop.turn.take_turn import take_turn
from closedloop.turn.write_down import write_heard, write_quarantine
from tests.unit.streams import make_frame, make_past

pytestmark = pytest.mark.slow

OUT, CONCEPT = Action.QUARANTINE, -1.0


class Life:
    """A loop that lives through a past, window by window, with its journal at hand."""

    def __init__(self, past: Past, journal: Journal) -> None:
        self.past, self.journal, self.registry = past, journal, MemoryRegistry("shop")
        first = fit_first(past)
        number = self.registry.add(first, first.facts.evaluation_window)
        self.registry.promote(number, instead_of=None, reason="installed")

    def parts(self, window: str) -> ReplayParts:
        return ReplayParts(
            self.past.use_case,
            self.past.as_of(window),
            self.journal,
            self.registry,
            self.past.compute,
        )

    def turn(self, window: str) -> Step:
        return Brain().turn(self.parts(window), window, 1)

    def decided(self, window: str) -> list[str]:
        """The actions of all decisions on the quarantine of a window."""
        return [
            entry.decision.action.value
            for entry in self.journal.history("shop")
            if entry.decision.kind is Kind.QUARANTINE and entry.decision.window == window
        ]

    def learnt(self) -> tuple[str, ...]:
        """What the newest version was trained on."""
        return self.registry.load(self.registry.versions()[-1].version).facts.trained_windows


@pytest.fixture
def journal() -> Iterator[Journal]:
    engine = open_engine("sqlite://")
    yield Journal(engine)
    engine.dispose()


def live(folder: Path, journal: Journal, slopes: dict[int, float], delay: int = 0) -> Life:
    """Nine windows of which some have another slope; the first model knows three."""
    frames: dict[str, pd.DataFrame] = {
        f"w{number}": make_frame(number, slopes.get(number, 1.0)) for number in range(9)
    }
    return Life(make_past(folder, frames, delay=delay, first=3), journal)


@pytest.mark.parametrize("delay", [0, 1])
def test_a_real_change_of_concept_is_learnt_one_window_later(
    tmp_path: Path, journal: Journal, delay: int
) -> None:
    """The relation turns round for good: the first such window is kept out and calls a person, the
    next one is its witness, and the loop trains on both and promotes what it learnt."""
    life = live(tmp_path, journal, dict.fromkeys(range(4, 9), CONCEPT), delay)
    first, second = f"w{4 + delay}", f"w{5 + delay}"
    life.turn(f"w{3 + delay}")
    escalated = life.turn(first)
    assert (escalated.actions, escalated.quarantined) == (("escalate",), ("w4",))
    assert "closedloop quarantine release w4" in escalated.reason
    before = life.registry.production()
    assert life.turn(second).actions == ("retrain", "promote")
    assert life.decided("w4") == ["quarantine", "release"]
    assert life.learnt()[-2:] == ("w4", "w5")
    assert life.registry.production() != before
    seen = take_turn(History(life.parts(f"w{6 + delay}"), f"w{6 + delay}")).turn.realised
    assert seen is not None
    assert seen.realised_auc is not None
    assert seen.realised_auc > 0.7


def test_wrong_labels_stay_out_for_good(tmp_path: Path, journal: Journal) -> None:
    """One window with swapped classes, and all is well after it: the witness says so once, and no
    version is ever trained on it."""
    life = live(tmp_path, journal, {4: CONCEPT})
    steps = {window: life.turn(window) for window in ("w3", "w4", "w5", "w6", "w7", "w8")}
    assert steps["w4"].actions == ("escalate",)
    assert life.decided("w4") == ["quarantine", "keep"]
    assert {window for window, step in steps.items() if "escalate" in step.actions} == {"w4"}
    trained = [step for step in steps.values() if step.candidate is not None]
    assert trained
    for version in life.registry.versions():
        assert "w4" not in life.registry.load(version.version).facts.trained_windows


def test_a_suspect_window_is_no_witness(tmp_path: Path, journal: Journal) -> None:
    """A window that is itself kept out says nothing about the one before; the next one decides on
    both."""
    life = live(tmp_path, journal, {4: -0.1, 5: -3.0})
    for window in ("w3", "w4", "w5"):
        life.turn(window)
    assert life.decided("w4") == life.decided("w5") == ["quarantine"]
    life.turn("w6")
    assert life.decided("w4") == life.decided("w5") == ["quarantine", "keep"]


def test_a_turn_that_died_after_the_witness_was_heard_goes_on(
    tmp_path: Path, journal: Journal
) -> None:
    """The release is written and nothing else: the same turn, begun again, decides what it would
    have decided, and nothing twice."""
    life = live(tmp_path, journal, dict.fromkeys(range(4, 9), CONCEPT))
    life.turn("w3")
    history = History(life.parts("w4"), "w4")
    write_quarantine(history, observe_window(history).quarantine)
    assert life.turn("w4").actions == ("escalate",)
    history = History(life.parts("w5"), "w5")
    seen = observe_window(history)
    write_heard(history, seen.heard, seen.details)
    assert life.turn("w5").actions == ("retrain", "promote")
    assert life.decided("w4") == ["quarantine", "release"]
    before = len(journal.history("shop"))
    life.turn("w5")
    assert len(journal.history("shop")) == before


def say(life: Life, action: Action, window: str) -> None:
    """What `closedloop quarantine` writes down."""
    decision = Decision(Kind.QUARANTINE, action, window, (request_check("by hand"),), None)
    life.journal.write(f"{action} {window}", "shop", decision, origin=Origin.PERSON)


def test_a_person_releases_a_window_and_the_turn_decides_again(
    tmp_path: Path, journal: Journal
) -> None:
    """What a person releases is trusted by the same turn, looked at again, and is trained on."""
    life = live(tmp_path, journal, {4: CONCEPT})
    life.turn("w3")
    assert life.turn("w4").actions == life.turn("w4").actions == ("escalate",)
    say(life, Action.RELEASE, "w4")
    assert life.turn("w4").actions[0] == "retrain"
    assert "w4" in life.learnt()
    assert life.decided("w4") == ["quarantine", "release"]


def test_a_person_keeps_a_window_out_that_the_loop_trusts(tmp_path: Path, journal: Journal) -> None:
    """It is as if it had no labels: it is not judged, not trained on, and no witness frees it."""
    life = live(tmp_path, journal, {})
    life.turn("w3")
    say(life, OUT, "w4")
    assert "escalate" not in life.turn("w4").actions
    for window in ("w5", "w6", "w7", "w8"):
        life.turn(window)
    assert life.decided("w4") == ["quarantine"]
    assert "w6" in life.learnt()
    assert "w4" not in life.learnt()
