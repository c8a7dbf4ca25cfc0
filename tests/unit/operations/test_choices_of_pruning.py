"""Which versions and records pruning chooses: never one that is live, was live before, waits for a
decision, or is needed for training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.operations.prune import (
    choose_cut,
    choose_versions,
)
from closedloop.registry.versions import VersionFacts
from tests.unit.operations.shelf import version

STATUSES = ["candidate", "rejected", "archived", "production", "pruning", "pruned", "unknown"]


@st.composite
def shelves(draw: st.DrawFn) -> list[VersionFacts]:
    """Versions in any state, with or without production and previous, some with the run of
    another."""
    count = draw(st.integers(1, 12))
    live = draw(st.none() | st.integers(1, count))
    before = (
        draw(st.none() | st.integers(1, count).filter(lambda number: number != live))
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
    by_number = {found.version: found for found in shelf}
    live = next((found.version for found in shelf if "production" in found.aliases), None)
    assert gone == () or live is not None
    for number in gone:
        assert by_number[number].status in ("rejected", "archived", "pruning")
        assert not by_number[number].aliases
        assert number not in awaited
        assert live is not None
        assert number < live
    staying = {
        found.run_id for found in shelf if found.version not in gone and found.status != "pruned"
    }
    assert not staying & {by_number[number].run_id for number in gone}


@given(shelves(), st.integers(0, 6))
def test_keeping_more_deletes_less(shelf: list[VersionFacts], keep: int) -> None:
    """A larger number to keep never lets anything go that a smaller one keeps; at most so many
    given-up versions stay for its sake."""
    assert set(choose_versions(shelf, keep + 1)) <= set(choose_versions(shelf, keep))
    alone = [version(found.version, found.status, *found.aliases) for found in shelf]
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
