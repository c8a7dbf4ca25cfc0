"""What goes and what stays: never what is live, what it replaced, what waits, or rows that training
and judging still need."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import ModelError, UseCaseError
from closedloop.operations.prune import (
    Limits,
    choose_cut,
    choose_versions,
    plan_pruning,
    prune,
    tell_pruning,
)
from closedloop.records.labels import Label
from closedloop.records.request import describe_answers
from closedloop.records.store import Records
from closedloop.registry.versions import VersionFacts
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case

CONTENT = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "columns": {"spend": {"type": "numeric"}},
    "source": {"query": "select 1", "windows": "*.csv"},
}
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STATUSES = ["candidate", "rejected", "archived", "production", "pruning", "pruned", "unknown"]


def version(
    number: int, status: str, *aliases: str, run: str | None = None, key: str = "key"
) -> VersionFacts:
    return VersionFacts(
        number,
        status,
        aliases,
        f"{key}-{number}",
        "logistic/all",
        "w",
        "w",
        None,
        run or f"run-{number}",
    )


@st.composite
def shelves(draw: st.DrawFn) -> list[VersionFacts]:
    """Versions in any state, with or without production and previous, some with the run of
    another."""
    count = draw(st.integers(1, 12))
    live = draw(st.none() | st.integers(1, count))
    before = (
        draw(st.none() | st.integers(1, count).filter(lambda one: one != live))
        if count > 1
        else None
    )
    found = []
    for number in range(1, count + 1):
        aliases = [
            name for name, place in (("production", live), ("previous", before)) if place == number
        ]
        run = f"run-{draw(st.integers(1, number))}" if draw(st.booleans()) else None
        found.append(version(number, draw(st.sampled_from(STATUSES)), *aliases, run=run))
    return found


@given(shelves(), st.integers(0, 6), st.sets(st.integers(1, 12), max_size=2))
def test_what_is_of_use_never_goes(shelf: list[VersionFacts], keep: int, awaited: set[int]) -> None:
    """Whatever the versions: none that is live, was before, waits, is newer than production, or
    shares its files with one that stays."""
    gone = choose_versions(shelf, keep, awaited)
    by_number = {one.version: one for one in shelf}
    live = next((one.version for one in shelf if "production" in one.aliases), None)
    assert gone == () or live is not None
    for number in gone:
        assert by_number[number].status in ("rejected", "archived", "pruning")
        assert not by_number[number].aliases
        assert number not in awaited
        assert live is not None
        assert number < live
    staying = {one.run_id for one in shelf if one.version not in gone and one.status != "pruned"}
    assert not staying & {by_number[number].run_id for number in gone}


@given(shelves(), st.integers(0, 6))
def test_keeping_more_deletes_less(shelf: list[VersionFacts], keep: int) -> None:
    """A larger number to keep never lets anything go that a smaller one keeps; at most so many
    given-up versions stay for its sake."""
    assert set(choose_versions(shelf, keep + 1)) <= set(choose_versions(shelf, keep))
    alone = [version(one.version, one.status, *one.aliases) for one in shelf]
    left = set(choose_versions(alone, 0)) - set(choose_versions(alone, keep))
    assert len(left) <= keep


def test_the_oldest_go_first_and_what_was_begun_is_finished() -> None:
    """Of five given-up versions two stay, the newest; one whose deletion a crash cut short goes
    whatever is kept; the others stay."""
    shelf = [
        version(1, "archived"),
        version(2, "rejected"),
        version(3, "pruning"),
        version(4, "rejected"),
        version(5, "archived"),
        version(6, "archived", "previous"),
        version(7, "rejected"),
        version(8, "production", "production"),
        version(9, "rejected"),
        version(10, "candidate"),
        version(11, "pruned"),
    ]
    assert choose_versions(shelf, 2) == (1, 2, 3, 4)
    assert choose_versions(shelf, 100) == (3,)
    assert choose_versions(shelf, 2, awaited={2}) == (1, 3, 4)


def test_a_version_of_somebody_else_stays() -> None:
    """Registered without a key of ours, or without a run, its files may be anybody's."""
    live = version(3, "production", "production")
    foreign = VersionFacts(1, "archived", (), "", "", "", "", None, "run-1")
    without_run = VersionFacts(2, "archived", (), "key", "", "", "", None, "")
    assert choose_versions([foreign, without_run, live], 0) == ()


DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 3, 5, 7, 9, 11)]


@pytest.mark.parametrize(
    ("trained", "labelled", "cut", "why"),
    [
        pytest.param([], None, 9, "", id="nothing needs them"),
        pytest.param(
            [], 11, 5, "newest labelled window", id="the newest labelled window and three before it"
        ),
        pytest.param([3, 5], None, 3, "was trained on", id="production was trained on them"),
        pytest.param([3, 5], 11, 3, "was trained on", id="the older of both reasons counts"),
        pytest.param([11], 7, 1, "newest labelled window", id="labels are late"),
        pytest.param(
            [11], 3, 1, "newest labelled window", id="there are fewer than three before it"
        ),
        pytest.param([10, 11], None, 9, "", id="what is needed is newer than what goes"),
    ],
)
def test_records_stay_as_long_as_they_are_needed(
    trained: list[int], labelled: int | None, cut: int, why: str
) -> None:
    """Of records that should go before the 9th: the first day that stays, and the reason when it is
    an earlier one."""
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in trained]
    newest = None if labelled is None else datetime(2026, 11, labelled, tzinfo=UTC)
    found, said = choose_cut(DAYS, DAYS[4], days, newest, 3)
    assert found == datetime(2026, 11, cut, tzinfo=UTC)
    assert (why in said) if why else said == ""


moments = st.integers(0, 60).map(lambda day: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day))


@given(
    st.lists(moments, unique=True).map(sorted),
    moments,
    st.lists(moments),
    st.none() | moments,
    st.integers(1, 5),
)
def test_no_needed_record_ever_goes(
    days: list[datetime],
    wanted: datetime,
    trained: list[datetime],
    labelled: datetime | None,
    memory: int,
) -> None:
    """The cut is never after what was asked for, after a day of training, or after the labelled
    window and those that judge it."""
    cut, said = choose_cut(days, wanted, trained, labelled, memory)
    assert cut <= min([wanted, *trained])
    assert (cut < wanted) == bool(said)
    if labelled is not None:
        assert cut <= labelled
        before = [day for day in days if day < labelled]
        assert all(cut <= day for day in before[-memory:])


@dataclass
class Shelf:
    """As much of a registry as pruning looks at: version 2 is live, and was trained on these
    windows."""

    windows: tuple[str, ...]
    broken: bool = False
    live: int | None = 2
    pruned: list[int] = field(default_factory=list)

    def versions(self) -> list[VersionFacts]:
        return [
            version(1, "archived"),
            version(2, "production", *(["production"] if self.live else [])),
        ]

    def production(self) -> int | None:
        return self.live

    def previous(self) -> None:
        return None

    def load(self, number: int) -> Any:
        if self.broken:
            raise ModelError(
                where="version 2", wanted="a model", got="nonsense", then="train again"
            )
        return SimpleNamespace(facts=SimpleNamespace(trained_windows=self.windows))

    def count_files(self, name: str) -> int:
        return 7

    def drop_files(self, name: str, *, keep: int) -> None:
        self.dropped = name, keep

    def prune(self, number: int) -> None:
        self.pruned.append(number)


def make_loop(folder: Path, shelf: Shelf) -> Loop:
    """A loop with real records: a row in each of the last ten days, the one three days old
    labelled."""
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
    found = plan_pruning(loop, Limits(20, 100, 2))
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
    limits = Limits(0, 5, 6)
    planned = prune(loop, limits, dry_run=True)
    assert (planned.versions, planned.reports, planned.records) == ((1,), 2, 3)
    assert (shelf.pruned, loop.records.count("shop").predictions) == ([], 10)
    assert prune(loop, limits) == planned
    assert (shelf.pruned, shelf.dropped, loop.records.count("shop").predictions) == (
        [1],
        ("drift_report.html", 5),
        7,
    )
    assert prune(loop, limits).records == 0
    assert tell_pruning(planned, dry_run=False)[0] == "deleted the model files of versions: 1"


def test_a_decision_that_is_open_keeps_its_version(tmp_path: Path) -> None:
    """A rollback that a crash left half carried out finds the version that it leads to."""
    loop = make_loop(tmp_path, Shelf(()))
    entry = loop.journal.write("back", "shop", Decision(Kind.ROLLBACK, Action.ROLLBACK, "w", (), 1))
    assert plan_pruning(loop, Limits(0, 100, 0)).versions == ()
    loop.journal.carried_out(entry, "superseded")
    assert plan_pruning(loop, Limits(0, 100, 0)).versions == (1,)


@pytest.mark.parametrize("limits", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_numbers_are_refused(limits: tuple[int, int, int]) -> None:
    """A form lets people type anything: less than nothing cannot be kept."""
    with pytest.raises(UseCaseError, match="0 or more"):
        Limits(*limits)
