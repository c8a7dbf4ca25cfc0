"""Which candidate waits for a person, as the journal says it."""

from __future__ import annotations

from sqlalchemy import Engine

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.waiting_candidate import find_waiting_candidate


def _decide(journal: Journal, action: Action, version: int, kind: Kind = Kind.PROMOTION) -> None:
    key = f"{kind}-{action}-{version}"
    journal.write(key, "shop", Decision(kind, action, "month_004", (), version))


def test_the_newest_decision_on_a_candidate_says_who_waits() -> None:
    """A candidate that was left to a person waits, until anything is decided on one; what is
    decided on a window, and what was superseded, says nothing."""
    engine: Engine = open_engine("sqlite://")
    journal = Journal(engine)
    assert journal.newest("shop", Kind.PROMOTION) is None
    assert find_waiting_candidate(journal, "shop") is None
    _decide(journal, Action.ESCALATE, 2)
    _decide(journal, Action.KEEP, 1, Kind.RETRAINING)
    assert find_waiting_candidate(journal, "shop") == 2
    assert find_waiting_candidate(journal, "another") is None
    _decide(journal, Action.ESCALATE, 3)
    assert find_waiting_candidate(journal, "shop") == 3
    _decide(journal, Action.PROMOTE, 3)
    assert find_waiting_candidate(journal, "shop") is None
    _decide(journal, Action.ESCALATE, 4)
    newest = journal.newest("shop", Kind.PROMOTION)
    assert newest is not None
    journal.supersede(newest, reason="meanwhile")
    assert find_waiting_candidate(journal, "shop") is None
