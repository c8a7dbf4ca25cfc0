"""What goes and what stays: never what is live, what it replaced, what waits, or rows that training
and judging still need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import RegistryError, UseCaseError
from closedloop.operations.prune import (
    KeepRules,
    plan_pruning,
    prune,
    tell_pruning,
)
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case
from tests.answers import describe_answers
from tests.unit.operations.shelf import Shelf

CONTENT = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "columns": {"spend": {"type": "numeric"}},
    "source": {"query": "select 1", "windows": "*.csv"},
}
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_loop(folder: Path, shelf: Shelf) -> Loop:
    """A loop with real records: a row in each of the last ten days, the one three days old
    labelled, and a journal that knows what is live."""
    engine = open_engine(f"sqlite:///{folder / 'loop.db'}")
    records = Records(engine, now=lambda: NOW)
    for age in range(10):
        at = NOW - timedelta(days=age)
        records.append(
            [
                describe_answers(
                    "shop",
                    2,
                    {"spend": [1.0]},
                    {"False": [0.5], "True": [0.5]},
                    request=f"r{age}",
                    at=at,
                )
            ]
        )
    records.label_many([Label("True", id="r3-000000")])
    nothing: Any = None
    registry: Any = shelf
    if shelf.live is not None:
        live = Decision(Kind.PROMOTION, Action.PROMOTE, "-", (), shelf.live)
        journal = Journal(engine)
        journal.carried_out(journal.write("promoted", "shop", live))
    return Loop(
        parse_use_case(CONTENT, folder / "loop.toml"),
        Settings(home=folder),
        nothing,
        records,
        Journal(engine),
        registry,
        engine,
    )


@pytest.mark.parametrize(
    ("shelf", "turned_on", "rows", "why"),
    [
        pytest.param(
            Shelf(("month_1",)),
            "month_1",
            3,
            "quarantine",
            id="what the labelled day is held against stays",
        ),
        pytest.param(
            Shelf(("month_1", "records_2026-11-12")),
            "month_1",
            1,
            "was trained on",
            id="what production was trained on stays",
        ),
        pytest.param(
            Shelf(("month_1",)),
            "records_2026-11-19",
            0,
            "they are monitored",
            id="what production may be trained on stays",
        ),
        pytest.param(
            Shelf((), broken=True),
            "month_1",
            0,
            "trained on: version 2",
            id="production does not say what it was trained on",
        ),
        pytest.param(
            Shelf((), live=None),
            "month_1",
            0,
            "without production",
            id="there is no production",
        ),
    ],
)
def test_a_plan_says_what_it_keeps_back(
    tmp_path: Path, shelf: Shelf, turned_on: str, rows: int, why: str
) -> None:
    """Records of more than two days are asked to go: so many of eight rows do, and the plan says
    why the others stay."""
    loop = make_loop(tmp_path, shelf)
    loop.journal.write("a turn", "shop", Decision(Kind.RETRAINING, Action.KEEP, turned_on, ()))
    found = plan_pruning(loop, KeepRules(20, 100, 2))
    assert found.records == rows
    assert (found.records_before is None) == (rows == 0)
    if why != "quarantine":
        assert why in found.kept_back
    else:
        assert "compared with the 3 before it" in found.kept_back
    assert any("kept, although older: " in line for line in tell_pruning(found, dry_run=True))


def test_a_dry_run_says_the_same_and_does_nothing(tmp_path: Path) -> None:
    """Its numbers are those of the pruning that follows; a second pruning finds no records any
    more."""
    loop = make_loop(tmp_path, Shelf(()))
    shelf: Any = loop.registry
    rules = KeepRules(0, 5, 6)
    planned = prune(loop, rules, dry_run=True)
    assert (planned.versions, planned.reports, planned.records) == ((1,), 2, 3)
    assert (shelf.pruned, loop.records.count("shop").predictions) == ([], 10)
    assert prune(loop, rules) == planned
    assert (shelf.pruned, shelf.dropped, loop.records.count("shop").predictions) == (
        [1],
        ("drift_report.html", 5),
        7,
    )
    assert prune(loop, rules).records == 0
    assert tell_pruning(planned, dry_run=False)[0] == "deleted the model files of versions: 1"


def test_a_decision_that_is_open_keeps_its_version(tmp_path: Path) -> None:
    """A rollback that a crash left half carried out finds the version that it leads to."""
    loop = make_loop(tmp_path, Shelf(()))
    entry = loop.journal.write("back", "shop", Decision(Kind.ROLLBACK, Action.ROLLBACK, "w", (), 1))
    assert plan_pruning(loop, KeepRules(0, 100, 0)).versions == ()
    loop.journal.supersede(entry)
    assert plan_pruning(loop, KeepRules(0, 100, 0)).versions == (1,)


def test_nothing_is_deleted_from_a_registry_that_the_journal_does_not_know(tmp_path: Path) -> None:
    """The files of another home, or of another team, stay."""
    loop = make_loop(tmp_path, Shelf(()))
    decision = Decision(Kind.PROMOTION, Action.PROMOTE, "-", (), 9)
    loop.journal.carried_out(loop.journal.write("elsewhere", "shop", decision))
    with pytest.raises(RegistryError, match="wanted version 9, as decision 2 left it"):
        prune(loop, KeepRules(0, 0, 0))
    shelf: Any = loop.registry
    assert shelf.pruned == []


@pytest.mark.parametrize("rules", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_numbers_are_refused(rules: tuple[int, int, int]) -> None:
    """A form lets people type anything: less than nothing cannot be kept."""
    with pytest.raises(UseCaseError, match="0 or more"):
        KeepRules(*rules)
