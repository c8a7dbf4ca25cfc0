"""Decisions move to another database as they were, once, beside those of others, on SQLite and on a
real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import OperationalError

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.errors import StoreError
from closedloop.operations.moving.journal_copy import JournalCopy, JournalLeft
from closedloop.storage.details import DriftFacts, RunFacts, TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.storage.rows import OutcomeNote
from tests.postgres import postgres, postgres_url  # noqa: F401

CHECKS = (Check("drift is over its limit", Outcome.HOLDS, Role.TRIGGER, "over 0.3", "0.45"),)
BEGAN = datetime(2026, 11, 1, 6, tzinfo=UTC)


def decide(engine: Engine, use_case: str, number: int, **named: Any) -> Entry:
    """The decision about one window, an hour after the one before."""
    journal = Journal(engine, lambda: BEGAN + timedelta(hours=number, microseconds=7))
    decision = Decision(Kind.RETRAINING, Action.RETRAIN, f"w{number}", CHECKS, number)
    return journal.write(f"{use_case}/w{number}/retraining", use_case, decision, **named)


def live(engine: Engine, use_case: str = "shop") -> list[Entry]:
    """Five decisions with ids that have a gap: one led to another, one was superseded by another,
    one is open."""
    journal = Journal(engine, lambda: BEGAN + timedelta(days=1))
    first = decide(
        engine, use_case, 0, details=TurnDetails(run=RunFacts("abc"), drift=DriftFacts(0.25))
    )
    decide(engine, "between", 0)
    second = decide(engine, use_case, 1, cause=first.id)
    third = decide(engine, use_case, 2)
    journal.carried_out(first)
    journal.supersede(second, by=third)
    journal.carried_out(third)
    decide(engine, use_case, 3, details=TurnDetails(run=RunFacts("gone")))
    decide(engine, use_case, 4, cause=third.id)
    return list(journal.history(use_case))


def move(source: Engine, target: Engine) -> JournalLeft:
    copy = JournalCopy(source, target, "shop")
    left = copy.left_to_copy()
    Journal(target).use_cases()
    copy.copy(lambda details: {**details, "run": "xyz"} if details.get("run") == "abc" else details)
    assert copy.left_to_copy() == JournalLeft(0, 0, left.shift)
    assert copy.tell_newest()[0] == copy.tell_newest()[1]
    return left


def as_moved(entry: Entry, shift: int = 0) -> dict[str, Any]:
    """What is expected there of a decision here."""
    facts = {
        **vars(entry),
        "id": entry.id + shift,
        "cause": None if entry.cause is None else entry.cause + shift,
    }
    if entry.turn.run and entry.turn.run.run == "abc":
        facts["details"] = replace(entry.turn, run=RunFacts("xyz"))
    if entry.outcome == "superseded":
        facts["note"] = OutcomeNote(superseded_by=4 + shift, action="retrain")
    return facts


def test_a_head_that_was_kept_elsewhere_is_known_in_the_copy(
    source: Engine, target: Engine
) -> None:
    """MLflow may stay when the database moves: the links come along as history, also in a second
    copy, and the chain of the copy is whole."""
    for use_case in ("other", "shop"):
        decide(target if use_case == "other" else source, use_case, 7)
    heads = []
    for number in (8, 9):
        heads.append(Journal(source).read_head("shop"))
        move(source, target)
        there = Journal(target)
        assert all(there.knows_head("shop", head) for head in heads)
        assert there.read_chain("shop").faults == ()
        decide(source, "shop", number)
    assert not there.knows_head("other", heads[0])


def test_decisions_come_along_as_they_were(source: Engine, target: Engine) -> None:
    """Ids, keys, causes, checks, details, outcomes and times to the microsecond; only a run that
    has another id there is told anew."""
    here = live(source)
    assert move(source, target) == JournalLeft(5, 0, 0)
    assert [vars(entry) for entry in Journal(target).history("shop")] == [
        as_moved(entry) for entry in here
    ]
    assert Journal(target).use_cases() == ("shop",)


def test_the_next_decision_has_an_id_of_its_own(source: Engine, target: Engine) -> None:
    """The database goes on counting after the highest id that came along."""
    here = live(source)
    move(source, target)
    assert decide(target, "shop", 9).id == here[-1].id + 1


def test_ids_that_others_have_move_up_together(source: Engine, target: Engine) -> None:
    """Beside another use case whose decisions have these ids, all are higher by one number; causes
    and what names another follow, and the others are as they were."""
    others = [decide(target, "bank", number) for number in range(3)]
    here = live(source)
    assert move(source, target) == JournalLeft(5, 0, 3)
    assert [vars(entry) for entry in Journal(target).history("shop")] == [
        as_moved(entry, 3) for entry in here
    ]
    assert list(Journal(target).history("bank")) == others
    assert decide(target, "bank", 9).id == here[-1].id + 4


def test_what_came_since_follows(source: Engine, target: Engine) -> None:
    """Moved again, only new decisions and new outcomes are added, above what others wrote there
    meanwhile; a third time adds nothing."""
    here = live(source)
    move(source, target)
    Journal(source).supersede(here[-1], reason="late")
    new = decide(source, "shop", 5, cause=here[-1].id)
    decide(target, "bank", 0)
    left = move(source, target)
    assert left == JournalLeft(1, 1, new.id)
    moved = Journal(target).history("shop")
    assert [entry.id for entry in moved] == [*(entry.id for entry in here), 2 * new.id]
    assert (str(moved[-2].note), moved[-1].cause) == ("late", here[-1].id)
    assert move(source, target) == JournalLeft(0, 0, new.id)
    assert Journal(target).history("shop") == moved


@pytest.mark.parametrize("key", ["shop/w0/retraining", "shop/other"])
def test_decisions_that_were_made_there_are_refused(
    source: Engine, target: Engine, key: str
) -> None:
    """A use case that turned in the target, even on the same data, is no copy: it is said, and
    nothing is added."""
    live(source)
    Journal(target).write(key, "shop", Decision(Kind.RETRAINING, Action.RETRAIN, "w0", CHECKS, 0))
    copy = JournalCopy(source, target, "shop")
    for attempt in (copy.left_to_copy, lambda: copy.copy(dict)):
        with pytest.raises(StoreError, match=r"got 1 made there \(ids 1\): .*nothing was written"):
            attempt()
    assert len(Journal(target).history("shop")) == 1


def test_looking_makes_no_tables(source: Engine, target: Engine) -> None:
    """What is left to copy can be asked of an empty database, and it stays empty."""
    live(source)
    assert JournalCopy(source, target, "shop").left_to_copy() == JournalLeft(5, 0, 0)
    assert inspect(target).get_table_names() == []


def test_all_or_nothing(source: Engine, target: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that goes away between two batches holds none of the decisions."""
    monkeypatch.setattr("closedloop.operations.moving.journal_copy._BATCH", 2)
    live(source)
    Journal(target).use_cases()
    inserted: list[str] = []

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        inserted.append(statement)
        if len([statement for statement in inserted if statement.startswith("INSERT")]) == 3:
            raise ConnectionError("gone")

    event.listen(target, "before_cursor_execute", fail)
    with pytest.raises(ConnectionError):
        JournalCopy(source, target, "shop").copy(dict)
    event.remove(target, "before_cursor_execute", fail)
    assert Journal(target).history("shop") == ()
    assert move(source, target).decisions == 5


def test_nobody_else_decides_meanwhile(source: Engine, postgres_url: str) -> None:
    """An id that was found free stays free until it is taken: another use case waits with its
    decision for the end of the copy."""
    live(source)
    target = open_engine(postgres_url)
    Journal(target).use_cases()
    refused: list[str] = []

    def decide_at_once(details: dict[str, Any]) -> dict[str, Any]:
        with target.begin() as connection:
            connection.execute(text("SET lock_timeout = '20ms'"))
            with pytest.raises(OperationalError) as caught:
                connection.execute(text("INSERT INTO decisions DEFAULT VALUES"))
        refused.append(str(caught.value))
        return details

    JournalCopy(source, target, "shop").copy(decide_at_once)
    assert len(refused) == 5
    assert all("lock timeout" in error for error in refused)
    target.dispose()


def test_a_database_that_is_not_there_is_a_store_error(source: Engine) -> None:
    """It is named, without its password."""
    live(source)
    with pytest.raises(
        StoreError, match=r"to reach postgresql\+psycopg://loop:\*\*\*@127\.0\.0\.1:9/x"
    ):
        JournalCopy(
            source, open_engine("postgresql://loop:hidden@127.0.0.1:9/x"), "shop"
        ).left_to_copy()
