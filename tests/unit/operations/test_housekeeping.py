"""Pruning on a schedule deletes only what an earlier run has shown, by the same rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from closedloop.operations.housekeeping import keep_house, read_housekeeping, show_pruning
from closedloop.operations.prune import prune
from closedloop.turn.open import Loop
from closedloop.use_case.housekeeping import Housekeeping
from tests.unit.operations.shelf import Shelf
from tests.unit.operations.test_prune import make_loop

DAILY = "30 3 * * *"


def with_policy(loop: Loop, **policy: object) -> Loop:
    """The loop with another [housekeeping]."""
    return replace(loop, use_case=replace(loop.use_case, housekeeping=Housekeeping(**policy)))  # type: ignore[arg-type]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Records of ten days, two versions, seven reports; the loop never was on records."""
    return with_policy(
        make_loop(tmp_path, Shelf(("month_1",))),
        cron=DAILY,
        enabled=True,
        keep_versions=0,
        keep_reports=5,
        keep_days_of_records=5,
    )


def rows(loop: Loop) -> int:
    return loop.records.count("shop").predictions


def test_a_run_shows_and_the_next_one_deletes(loop: Loop) -> None:
    """The first run only keeps what it would delete; the second deletes that, and shows that
    nothing is left. Both results can be read afterwards."""
    assert read_housekeeping(loop).shown is None
    before = rows(loop)
    deleted, shown = keep_house(loop)
    assert (deleted, rows(loop)) == (None, before)
    assert "would delete the model files of versions: 1" in shown.lines
    gone, left = keep_house(loop)
    assert gone is not None
    assert "deleted the model files of versions: 1" in gone.lines
    assert gone.found["records"] == shown.found["records"] == before - rows(loop) > 0
    assert left.found["records"] == 0
    kept = read_housekeeping(loop)
    assert (kept.shown, kept.deleted) == (left, gone)
    assert [told.split(" UTC: ")[1].split(";")[0] for told in kept.tell()] == [
        "deleted the model files of versions: 1",
        "would delete the model files of versions: 1",  # a shelf forgets nothing
    ]


def test_other_rules_are_shown_first(loop: Loop) -> None:
    """After a change of [housekeeping], the next run shows by the new rules and deletes nothing."""
    keep_house(loop)
    before = rows(loop)
    stricter = replace(loop.use_case.housekeeping, keep_days_of_records=4)
    changed = replace(loop, use_case=replace(loop.use_case, housekeeping=stricter))
    assert keep_house(changed)[0] is None
    assert rows(loop) == before
    assert keep_house(changed)[0] is not None
    assert rows(loop) < before


def test_without_being_enabled_it_only_shows(loop: Loop) -> None:
    """However often it runs, it deletes nothing, says so, and says the same as a dry run."""
    cautious = replace(loop.use_case.housekeeping, enabled=False)
    loop = replace(loop, use_case=replace(loop.use_case, housekeeping=cautious))
    before = rows(loop)
    for _ in range(3):
        assert keep_house(loop)[0] is None
    shown = show_pruning(loop)
    assert rows(loop) == before
    assert shown.found == prune(loop, shown.rules, dry_run=True).as_json()
    assert read_housekeeping(loop).tell()[-1].endswith("[housekeeping] is not enabled")


def test_deleting_needs_a_schedule() -> None:
    """A [housekeeping] that is enabled but never runs is a mistake, and so are negative numbers."""
    with pytest.raises(ValueError, match="cron is needed with enabled = true"):
        Housekeeping(enabled=True)
    with pytest.raises(ValueError, match="keep_versions must not be negative"):
        Housekeeping(keep_versions=-1)
    with pytest.raises(ValueError, match="cron must have 5 fields"):
        Housekeeping(cron="daily")
