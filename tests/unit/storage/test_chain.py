"""The chain of the journal: whatever is changed, removed or added in its tables is found and named,
on SQLite and on PostgreSQL."""

from __future__ import annotations

from threading import Thread

import pytest
from sqlalchemy import Engine, text

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.storage.journal import Journal
from closedloop.storage.upgrade import upgrade_tables
from closedloop.turn.serving_note import note_serving
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.storage.tables import engine, fill_as_before, make_url  # noqa: F401

PROMOTE = Decision(Kind.PROMOTION, Action.PROMOTE, "w1", (), 2)
REJECT = Decision(Kind.PROMOTION, Action.REJECT, "w2", (), 3)
WRITE = (
    'INSERT INTO decisions (key, use_case, kind, action, "window", version, checks, details, at)'
    " SELECT 'new', use_case, kind, 'promote', \"window\", 9, checks, details, at FROM decisions"
    " WHERE id = 1"
)


@pytest.fixture
def journal(engine: Engine) -> Journal:
    """Decisions 1 and 2 with outcomes, 3 without; between them the note of a service."""
    journal = Journal(engine)
    for number, decision in enumerate((PROMOTE, REJECT)):
        journal.carried_out(journal.write(f"key {number}", "shop", decision))
    note_serving(journal, "shop", 2, window="w1", where="here", started="now")
    journal.write("key 2", "shop", REJECT)
    return journal


def added(number: int) -> str:
    return (
        f"INSERT INTO outcomes SELECT {number}, outcome, detail, at FROM outcomes "
        "WHERE decision = 1"
    )


CHANGED, GONE, ADDED = "is not what was written", "is gone", "was not written by closedloop"
CHANGES = {
    "nothing": ("SELECT 1", []),
    "action": (
        "UPDATE decisions SET action = 'promote' WHERE id = 2",
        [f"decision 2 {CHANGED}"],
    ),
    "checks": ("UPDATE decisions SET checks = '[ ]' WHERE id = 1", [f"decision 1 {CHANGED}"]),
    "time": (
        "UPDATE outcomes SET at = '2020-01-01 00:00:00' WHERE decision = 1",
        [f"the outcome of decision 1 {CHANGED}"],
    ),
    "outcome gone": (
        "DELETE FROM outcomes WHERE decision = 2",
        [f"the outcome of decision 2 {GONE}"],
    ),
    "decision gone": ("DELETE FROM decisions WHERE id = 4", [f"decision 4 {GONE}"]),
    "decision added": (WRITE, [f"decision 5 {ADDED}"]),
    "outcome added": (added(4), [f"the outcome of decision 4 {ADDED}"]),
    "link gone": (
        "DELETE FROM journal_chain WHERE decision = 1 AND entry = 'outcome'",
        [f"the outcome of decision 1 {ADDED}", f"decision 2 {CHANGED}"],
    ),
    "note of a service": ("UPDATE decisions SET version = 7 WHERE kind = 'serving'", []),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_named_until_it_is_accepted(
    journal: Journal, engine: Engine, change: str, told: list[str]
) -> None:
    """Each by the id of its decision; the notes of services decide nothing and are not chained.
    Once accepted, the journal is whole as it is, goes on, and the next change is found again."""
    head = journal.read_chain("shop").head
    with engine.begin() as connection:
        connection.execute(text(change))
    found = journal.read_chain("shop")
    assert sorted(found.faults) == sorted(told)
    assert (found.head, found.links) == (head, 5 - ("journal_chain" in change))
    journal.chain_all("shop")
    journal.carried_out(journal.write("later", "shop", PROMOTE))
    assert journal.read_chain("shop").faults == ()
    with engine.begin() as connection:
        connection.execute(text("UPDATE decisions SET version = 8 WHERE id = 1"))
    assert journal.read_chain("shop").faults == (f"decision 1 {CHANGED}",)


def test_many_that_write_at_once_make_one_chain(engine: Engine) -> None:
    """Threads with a journal of their own, of two use cases: each use case has its own chain, whole
    and without a gap."""

    def write(number: int) -> None:
        journal = Journal(engine)
        for turn in range(10):
            use_case = ("shop", "bank")[turn % 2]
            journal.carried_out(journal.write(f"key {number} {turn}", use_case, PROMOTE))

    Journal(engine).use_cases()
    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for use_case in ("shop", "bank"):
        found = Journal(engine).read_chain(use_case)
        assert (found.links, found.faults) == (40, ())


def test_a_journal_of_an_older_version_is_chained_as_it_is(engine: Engine) -> None:
    """The upgrade chains what is there; what is changed afterwards is found."""
    fill_as_before(engine)
    upgrade_tables(engine)
    journal = Journal(engine)
    found = journal.read_chain("shop")
    assert (found.links, found.faults) == (3, ())
    journal.carried_out(journal.write("later", "shop", PROMOTE))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM outcomes WHERE decision = 2"))
    assert journal.read_chain("shop").faults == (f"the outcome of decision 2 {GONE}",)
