"""Which candidate waits for a person, as the journal says it."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.waiting_candidate import WaitingCandidate
from closedloop.turn.waiting_decisions import answer_key


def _decide(
    journal: Journal, action: Action, version: int, *, kind: Kind = Kind.PROMOTION, key: str = ""
) -> Entry:
    decision = Decision(kind, action, "month_004", (), version)
    return journal.write(key or f"{kind}-{action}-{version}", "shop", decision)


def test_the_newest_that_asks_a_person_waits() -> None:
    """Until it is answered, and beside newer ones that ask nobody; what is decided on a window, or
    for another use case, says nothing."""
    journal = Journal(open_engine("sqlite://"))
    waiting = WaitingCandidate(journal, "shop")
    assert journal.newest("shop", Kind.PROMOTION) is None
    assert waiting.find() is None
    first = _decide(journal, Action.WAIT, 2)
    _decide(journal, Action.KEEP, 1, kind=Kind.RETRAINING)
    assert waiting.find() == 2
    assert WaitingCandidate(journal, "another").find() is None
    second = _decide(journal, Action.WAIT, 3)
    assert waiting.find() == 3
    _decide(journal, Action.REJECT, 4)
    assert waiting.find() == 3, "a newer one was refused"
    _decide(journal, Action.REJECT, 3, key=answer_key(second))
    assert waiting.find() == 2
    _decide(journal, Action.PROMOTE, 2, key=answer_key(first))
    assert waiting.find() is None


def test_one_that_a_person_was_called_for_waits_until_the_next_decision() -> None:
    """And one that was superseded does not."""
    journal = Journal(open_engine("sqlite://"))
    waiting = WaitingCandidate(journal, "shop")
    called = _decide(journal, Action.ESCALATE, 2)
    assert waiting.find() == 2
    journal.carried_out(called)
    assert waiting.find() == 2
    _decide(journal, Action.PROMOTE, 2)
    assert waiting.find() is None
    lost = _decide(journal, Action.ESCALATE, 5)
    assert waiting.find() == 5
    journal.supersede(lost, reason="meanwhile")
    assert waiting.find() is None
