"""The journal: what was decided is written once, in order, and never changed, on SQLite and on a
real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Engine, event, text

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.errors import StoreError
from closedloop.storage.details import DriftFacts, TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.storage.rows import Origin
from closedloop.storage.upgrade import prepare_tables
from tests.postgres import postgres, postgres_url  # noqa: F401

CHECKS = (
    Check("drift is over its limit", Outcome.HOLDS, Role.TRIGGER, "over 0.3", "0.45"),
    Check("labels are enough", Outcome.UNKNOWN, Role.GUARD, "500 rows", "not measured"),
)
RETRAIN = Decision(Kind.RETRAINING, Action.RETRAIN, "month_004", CHECKS, 3)
KEEP = Decision(Kind.RETRAINING, Action.KEEP, "month_004", (), None)
FACTS = TurnDetails(3, drift=DriftFacts(0.45, ("plan",), drift_over=True))

# Writes the same twenty keys as its twin and prints what it was told is there.
WRITER = """
import json, sys
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.storage.engine import open_engine
from closedloop.storage.details import RunFacts, TurnDetails
from closedloop.storage.journal import Journal
journal = Journal(open_engine(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
decision = Decision(Kind.RETRAINING, Action.KEEP, "w", (), None)
details = TurnDetails(run=RunFacts(sys.argv[2]))
entries = [
    journal.write(f"key {number}", "shop", decision, details=details) for number in range(20)
]
for entry in entries:
    journal.supersede(entry, reason=sys.argv[2])
found = [journal.entry(entry.id) for entry in entries]
print(json.dumps([[entry.id, entry.turn.run.run, str(entry.note)] for entry in found]))
"""


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine)


def test_a_decision_comes_back_as_it_was_made(journal: Journal) -> None:
    """Checks, facts, version, cause and reason of an entry are those that were written."""
    first = journal.write(
        "a",
        "shop",
        RETRAIN,
        details=FACTS,
    )
    second = journal.write("b", "shop", KEEP, cause=first.id)
    assert journal.find("a") == first == journal.entry(first.id)
    assert first.decision == RETRAIN
    assert first.decision.reason == RETRAIN.reason
    assert first.details == FACTS
    assert first.origin is Origin.LOOP
    assert (first.cause, second.cause) == (None, first.id)
    assert (first.outcome, str(first.note)) == (None, "")
    assert second.decision == KEEP


def test_the_same_key_twice_gives_the_first_entry(journal: Journal) -> None:
    """A second decision under a key is not written, whatever it says, and the caller gets what was
    decided first."""
    first = journal.write("a", "shop", RETRAIN, details=FACTS)
    assert journal.write("a", "shop", KEEP, details=TurnDetails()) == first
    assert journal.history("shop") == (first,)


@pytest.mark.slow
def test_two_processes_that_write_the_same_keys_at_once_agree(url: str, journal: Journal) -> None:
    """Of two writers each key has one winner, both are told the same entry, and it has one
    outcome."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    told = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    assert told[0] == told[1]
    assert len({id for id, _, _ in told[0]}) == 20
    assert len(journal.history("shop")) == 20


def test_many_journals_may_meet_an_empty_database_at_once(engine: Engine) -> None:
    """Eight openings of a database without tables all succeed, and the one key that all write is
    there once."""
    barrier = Barrier(8)

    def start(number: int) -> Entry:
        journal = Journal(open_engine(engine.url.render_as_string(hide_password=False)))
        barrier.wait()
        return journal.write("the key", "shop", RETRAIN, details=TurnDetails(production=number))

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(start, range(8)))
    assert set(map(repr, entries)) == {repr(Journal(engine).find("the key"))}


def test_the_first_outcome_stays(journal: Journal) -> None:
    """What came of a decision is noted once: a second outcome changes nothing."""
    entry = journal.write("a", "shop", RETRAIN)
    journal.supersede(entry, reason="production is meanwhile version 7")
    journal.carried_out(entry)
    found = journal.entry(entry.id)
    assert (found.outcome, str(found.note)) == (
        "superseded",
        "production is meanwhile version 7",
    )


def test_history_is_the_order_of_writing_of_one_use_case(journal: Journal) -> None:
    """Entries come oldest first, whatever their names and outcomes; another use case has its
    own."""
    for key in ("c", "a", "d", "b"):
        entry = journal.write(key, "shop", RETRAIN)
        if key in "ad":
            journal.carried_out(entry)
    other = journal.write("e", "Bank", KEEP)
    assert [entry.key for entry in journal.history("shop")] == ["c", "a", "d", "b"]
    assert [entry.outcome for entry in journal.history("shop")] == [None, "done", "done", None]
    assert journal.history("Bank") == (other,)
    assert journal.history("none") == ()
    assert sorted(journal.use_cases()) == ["Bank", "shop"]


def test_times_are_aware_and_the_same_moment(engine: Engine) -> None:
    """A time that was given in any zone comes back as that moment, in UTC."""
    moment = datetime(2026, 11, 20, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    journal = Journal(engine, now=lambda: moment)
    journal.write("a", "shop", RETRAIN)
    found = journal.entry(1).at
    assert found == moment
    assert found.tzinfo is UTC
    assert journal.entry(1).as_json()["at"] == "2026-11-19T22:30:00+00:00"


def test_an_entry_as_json_can_be_printed(journal: Journal) -> None:
    """The JSON form holds the reason and every check, and nothing that json cannot write."""
    entry = journal.write("a", "shop", RETRAIN, details=FACTS, origin=Origin.PERSON)
    shown = json.loads(json.dumps(entry.as_json()))
    assert shown["reason"] == RETRAIN.reason
    assert [check["claim"] for check in shown["checks"]] == [check.claim for check in CHECKS]
    assert (shown["action"], shown["version"], shown["origin"]) == ("retrain", 3, "person")
    assert shown["details"] == {
        "production": 3,
        "drift_share": 0.45,
        "drifted_columns": ["plan"],
        "drift_over": True,
        "bundle": None,
        "loss_over": None,
        "drift_reference": None,
    }


def test_an_id_that_nobody_wrote_is_named(journal: Journal) -> None:
    """Asking for decision 9 of an empty journal says so and where to look."""
    with pytest.raises(StoreError, match=r"got 9.*closedloop history"):
        journal.entry(9)


def test_nothing_is_ever_changed_or_removed(engine: Engine, journal: Journal) -> None:
    """Whatever is asked of a journal whose tables are there, it sends the database no statement but
    SELECT and INSERT."""
    prepare_tables(engine)
    verbs: set[str] = set()
    event.listen(
        engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: verbs.add(statement.split()[0].upper()),
    )
    for _ in range(2):
        entry = journal.write("a", "shop", RETRAIN)
        journal.carried_out(entry)
        journal.supersede(entry, by=entry)
    (
        journal.history("shop"),
        journal.newest("shop", Kind.PROMOTION),
        journal.use_cases(),
        journal.read_chain("shop"),
        journal.knows_head("shop", "head"),
        journal.read_head("shop"),
        journal.chain_all("shop"),
        journal.find("b"),
        journal.entry(entry.id),
    )
    public = {name for name in vars(Journal) if not name.startswith("_")}
    assert public == {
        "write",
        "carried_out",
        "supersede",
        "history",
        "newest",
        "use_cases",
        "read_chain",
        "knows_head",
        "read_head",
        "chain_all",
        "find",
        "entry",
    }, "a new method belongs into this test"
    assert {"SELECT", "INSERT"} <= verbs <= {"SELECT", "INSERT", "PRAGMA", "BEGIN", "LOCK"}


ENTRY = Entry(1, "a", "shop", RETRAIN, FACTS, Origin.LOOP, None, datetime(2026, 11, 20, tzinfo=UTC))


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "use",
    [
        lambda journal: journal.write("a", "shop", RETRAIN),
        lambda journal: journal.carried_out(ENTRY),
        lambda journal: journal.supersede(ENTRY, by=ENTRY),
        lambda journal: journal.find("a"),
        lambda journal: journal.entry(1),
        lambda journal: journal.history("shop"),
        lambda journal: journal.use_cases(),
        lambda journal: journal.read_chain("shop"),
        lambda journal: journal.chain_all("shop"),
    ],
)
def test_a_database_that_is_away_is_a_store_error(
    tmp_path: Path, backend: str, use: Callable[[Journal], object]
) -> None:
    """Nothing of SQLAlchemy leaks out; the error says where, what was wanted, what came and what to
    do, without the password."""
    address = (
        f"sqlite:///{tmp_path / 'store' / 'loop.db'}"
        if backend == "sqlite"
        else "postgresql://me:secret@127.0.0.1:1/loop"
    )
    engine = open_engine(address)
    if backend == "sqlite":
        (tmp_path / "store").rmdir()
    with pytest.raises(StoreError) as caught:
        use(Journal(engine))
    error = caught.value
    assert error.where == "journal"
    assert error.wanted.startswith(f"to reach {backend}")
    assert ("unable to open" if backend == "sqlite" else "connection") in error.got
    assert "closedloop doctor" in error.then
    assert "secret" not in str(error)


def test_a_journal_works_again_when_its_database_is_back(tmp_path: Path) -> None:
    """A journal that failed at first use needs no restart."""
    journal = Journal(open_engine(f"sqlite:///{tmp_path / 'store' / 'loop.db'}"))
    (tmp_path / "store").rmdir()
    with pytest.raises(StoreError):
        journal.history("shop")
    (tmp_path / "store").mkdir()
    assert journal.write("a", "shop", RETRAIN).decision == RETRAIN


DAMAGE = ["details = 'null'", "details = '{'", "checks = '[{}]'", "kind = 'x'", "at = 'soon'"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_is_named(engine: Engine, journal: Journal, damage: str) -> None:
    """A row that was changed by hand is a StoreError that names the journal and its decision."""
    if damage.startswith("at") and engine.dialect.name == "postgresql":
        pytest.skip("PostgreSQL takes no such time")
    journal.write("key", "shop", RETRAIN)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE decisions SET {damage}"))
    with pytest.raises(StoreError, match=r"journal.*: wanted (a row|rows) as closedloop writes"):
        journal.history("shop")
