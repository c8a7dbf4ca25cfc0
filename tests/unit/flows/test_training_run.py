"""Which decision to retrain is still to be carried out, when trainings are runs of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Entry, Journal

WINDOWS = ("w1", "w2", "w3")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(open_engine(f"sqlite:///{tmp_path / 'closedloop.db'}"))


def decide(
    journal: Journal, action: Action, window: str, *, done: bool = False, what: str = "retraining"
) -> Entry:
    """A decision of a turn, written down; of a person, when `what` is `requested`."""
    kind = Kind.ROLLBACK if action is Action.ROLLBACK else Kind.RETRAINING
    entry = journal.write(
        f"case/{window}/{what}/{action.value}", "case", Decision(kind, action, window, ())
    )
    if done:
        journal.carried_out(entry)
    return journal.entry(entry.id)


def find(journal: Journal, entry: Entry, names: tuple[str, ...] = WINDOWS) -> Entry | None:
    from flows.server.training_run import (
        find_untrained,
    )  # Prefect reads its settings when it is imported

    return find_untrained(entry, journal.history("case"), names)


def test_the_turns_own_decision_comes_first(journal: Journal) -> None:
    """What was decided now is trained, whatever is open beside it; once it was carried out, nothing
    is left."""
    own = decide(journal, Action.RETRAIN, "w1")
    decide(journal, Action.RETRAIN, "w2", done=True)
    assert find(journal, own) == own
    journal.carried_out(own)
    assert find(journal, journal.entry(own.id)) is None


def test_a_training_that_died_is_found_from_a_later_window(journal: Journal) -> None:
    """A turn that has nothing to retrain finds the last decision whose run never carried it out,
    but none older than that."""
    decide(journal, Action.RETRAIN, "w1")
    died = decide(journal, Action.RETRAIN, "w2")
    kept = decide(journal, Action.KEEP, "w3", done=True)
    assert find(journal, kept) == died
    journal.carried_out(died)
    assert find(journal, kept) is None


def test_what_is_left_alone(journal: Journal) -> None:
    """A person's request, a window that this turn does not know, and everything in a turn that took
    a version back."""
    decide(journal, Action.RETRAIN, "w1", what="requested")
    kept = decide(journal, Action.KEEP, "w2", done=True)
    assert find(journal, kept) is None
    died = decide(journal, Action.RETRAIN, "w3")
    assert find(journal, kept) == died
    assert find(journal, kept, ("w1", "w2")) is None
    assert find(journal, decide(journal, Action.ROLLBACK, "w3", done=True)) is None
