"""Which decision to retrain is still open when trainings are flow runs of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.storage.rows import Origin

WINDOWS = ("w1", "w2", "w3")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(open_engine(f"sqlite:///{tmp_path / 'closedloop.db'}"))


def decide(
    journal: Journal,
    action: Action,
    window: str,
    *,
    done: bool = False,
    origin: Origin = Origin.LOOP,
) -> Entry:
    """A decision in the journal, of a turn or of a person."""
    kind = Kind.ROLLBACK if action is Action.ROLLBACK else Kind.RETRAINING
    entry = journal.write(
        f"{window}/{action.value}", "case", Decision(kind, action, window, ()), origin=origin
    )
    if done:
        journal.carried_out(entry)
    return journal.entry(entry.id)


def find(journal: Journal, entry: Entry, names: tuple[str, ...] = WINDOWS) -> Entry | None:
    # Prefect reads its settings when it is imported.
    from flows.prefect_client.training_run import find_untrained

    return find_untrained(entry, journal.history("case"), names)


def test_the_turns_own_decision_comes_first(journal: Journal) -> None:
    """A turn trains its own decision, whatever else is open; once trained, nothing is left."""
    own = decide(journal, Action.RETRAIN, "w1")
    decide(journal, Action.RETRAIN, "w2", done=True)
    assert find(journal, own) == own
    journal.carried_out(own)
    assert find(journal, journal.entry(own.id)) is None


def test_a_training_that_died_is_found_from_a_later_window(journal: Journal) -> None:
    """A turn without a retraining of its own finds the newest decision that was never trained, and
    no older one."""
    decide(journal, Action.RETRAIN, "w1")
    died = decide(journal, Action.RETRAIN, "w2")
    kept = decide(journal, Action.KEEP, "w3", done=True)
    assert find(journal, kept) == died
    journal.carried_out(died)
    assert find(journal, kept) is None


def test_what_is_left_alone(journal: Journal) -> None:
    """A person's request, a window unknown to this turn, and any decision after a rollback."""
    decide(journal, Action.RETRAIN, "w1", origin=Origin.PERSON)
    kept = decide(journal, Action.KEEP, "w2", done=True)
    assert find(journal, kept) is None
    died = decide(journal, Action.RETRAIN, "w3")
    assert find(journal, kept) == died
    assert find(journal, kept, ("w1", "w2")) is None
    assert find(journal, decide(journal, Action.ROLLBACK, "w3", done=True)) is None
