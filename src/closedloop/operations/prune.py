"""What may go, so that disks do not fill: model files, drift reports and records that nothing will
ask for again.

First what goes is chosen, then it is deleted; the journal, and every version with its number, tags
and evidence, stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from closedloop.errors import ModelError, RegistryError, UseCaseError
from closedloop.records.as_windows import day_of_window
from closedloop.records.periods import start_of
from closedloop.registry.runs import REPORT
from closedloop.registry.versions import PRODUCTION, PRUNED, PRUNING, VersionFacts
from closedloop.storage.journal import Entry
from closedloop.turn.open import Loop

GIVEN_UP = ("rejected", "archived")


@dataclass(frozen=True)
class Limits:
    """How much stays: of the versions that were given up, of the drift reports, and days of records
    (0: all of them)."""

    versions: int
    reports: int
    days_of_records: int

    def __post_init__(self) -> None:
        if negative := [name for name, value in asdict(self).items() if value < 0]:
            raise UseCaseError(
                where="prune",
                wanted="numbers of things to keep, 0 or more",
                got=f"a negative one for {negative[0]}",
                then="say how many to keep",
            )


@dataclass(frozen=True)
class Pruning:
    """What goes: the files of `versions`, so many drift reports, and so many rows of `records`, all
    that were answered before `records_before`. `kept_back` says why older records stay than were
    asked for, empty when none do."""

    versions: tuple[int, ...]
    reports: int
    records: int
    records_before: datetime | None
    kept_back: str

    def as_json(self) -> dict[str, Any]:
        """What `closedloop prune --json` prints."""
        before = self.records_before and self.records_before.isoformat()
        return {**asdict(self), "versions": list(self.versions), "records_before": before}


def prune(loop: Loop, limits: Limits, *, dry_run: bool = False) -> Pruning:
    """Delete what goes, or only say what would; after a crash the same call goes on where it was.
    Waits for a turn that runs.

    Raises RegistryError or StoreError when MLflow or the database cannot be reached.
    """
    with nullcontext() if dry_run else loop.lock():
        found = plan_pruning(loop, limits)
        if not dry_run:
            for version in found.versions:
                loop.registry.prune(version)
            if found.reports:
                loop.registry.drop_files(REPORT, keep=limits.reports)
            if found.records_before is not None:
                loop.records.delete_before(loop.use_case.name, found.records_before)
    return found


def tell_pruning(found: Pruning, *, dry_run: bool) -> list[str]:
    """What went, or would go, a line each."""
    verb = "would delete" if dry_run else "deleted"
    versions = ", ".join(map(str, found.versions)) or "none"
    before = f" answered before {found.records_before:%Y-%m-%d}" if found.records_before else ""
    return [
        f"{verb} the model files of versions: {versions}",
        f"{verb} {found.reports} drift reports",
        f"{verb} {found.records} rows of records{before}, with their labels",
        *([f"kept, although older: {found.kept_back}"] if found.kept_back else []),
    ]


def plan_pruning(loop: Loop, limits: Limits) -> Pruning:
    """Look at everything and choose what goes; nothing is changed."""
    entries = loop.journal.history(loop.use_case.name)
    awaited = {
        one.decision.version
        for one in entries
        if one.outcome is None and one.decision.version is not None
    }
    versions = choose_versions(loop.registry.versions(), limits.versions, awaited)
    reports = max(loop.registry.count_files(REPORT) - limits.reports, 0)
    before, kept_back = _choose_records(loop, limits.days_of_records, entries)
    records = 0 if before is None else loop.records.count_before(loop.use_case.name, before)
    return Pruning(versions, reports, records, before if records else None, kept_back)


def choose_versions(
    versions: Sequence[VersionFacts], keep: int, awaited: Collection[int] = ()
) -> tuple[int, ...]:
    """Versions whose files may go, oldest first: rejected or archived, older than production, and
    beyond the newest `keep` of those.

    Never one that an alias points at, that waits for a decision, that an unfinished decision is
    about (`awaited`), or whose files are those of a version that stays. What an earlier pruning
    began is always among them. Without a production nothing goes.
    """
    live = next((one.version for one in versions if PRODUCTION in one.aliases), None)
    given_up = [
        one for one in versions if live is not None and one.version < live and _may_go(one, awaited)
    ]
    begun = [one for one in given_up if one.status == PRUNING]
    whole = sorted((one.version for one in given_up if one.status != PRUNING), reverse=True)
    going = {*whole[keep:], *(one.version for one in begun)}
    # A registration that was repeated, because its answer got lost, leaves two versions of one run.
    needed = {one.run_id for one in versions if one.version not in going and one.status != PRUNED}
    return tuple(
        one.version for one in given_up if one.version in going and one.run_id not in needed
    )


def _may_go(one: VersionFacts, awaited: Collection[int]) -> bool:
    # Without a key or a run of ours, somebody else registered it.
    ours = bool(one.key and one.run_id)
    return (
        ours
        and not one.aliases
        and one.version not in awaited
        and one.status in (*GIVEN_UP, PRUNING)
    )


def _choose_records(loop: Loop, days: int, entries: Sequence[Entry]) -> tuple[datetime | None, str]:
    """Before which moment records may go, None for none at all, and what keeps back those that were
    asked to go."""
    if days == 0:
        return None, ""
    name, now = loop.use_case.name, loop.records.now()
    periods = loop.records.read_periods(name, "day", now)
    try:
        trained = _trained_on(loop)
    except (ModelError, RegistryError) as error:
        return None, f"all records: what production was trained on is not known: {error}"
    if trained is None:
        return (
            None,
            "all records: nothing is in production yet, and the first model may be trained on them",
        )
    if not trained and any(day_of_window(one.decision.window) for one in entries):
        return (
            None,
            "all records: turns look at them, and production has not been trained on any yet",
        )
    labelled = loop.records.newest_labelled(name)
    # What a turn looks back to from the newest labelled window: quarantine holds it against those
    # before it.
    memory = loop.use_case.policy.quarantine.memory_windows
    return choose_cut(
        periods,
        start_of(now - timedelta(days=days), "day"),
        trained,
        labelled and start_of(labelled, "day"),
        memory,
    )


def _trained_on(loop: Loop) -> tuple[datetime, ...] | None:
    """The days of records that production and previous were trained on; None without a
    production."""
    live, before = loop.registry.production(), loop.registry.previous()
    if live is None:
        return None
    windows = [
        name
        for one in (live, before)
        if one is not None
        for name in loop.registry.load(one).facts.trained_windows
    ]
    return tuple(day for name in windows if (day := day_of_window(name)) is not None)


def choose_cut(
    days: Sequence[datetime],
    wanted: datetime,
    trained: Sequence[datetime],
    labelled: datetime | None,
    memory: int,
) -> tuple[datetime, str]:
    """The start of the first day that stays, and why it is before the one that was `wanted`, empty
    when it is not.

    `days` are those with records, oldest first, `trained` those that production or previous was
    trained on, `labelled` the newest with a label: it stays, and so do the `memory` days with
    records before it. Days go whole: a window never changes.
    """
    reasons = (
        {min(trained): "production, or the version it replaced, was trained on them"}
        if trained
        else {}
    )
    if labelled is not None:
        reached = sum(day < labelled for day in days)
        looked_back = days[max(reached - memory, 0)] if reached else labelled
        reasons.setdefault(
            looked_back, f"the newest labelled window is held against the {memory} before it"
        )
    cut = min((wanted, *reasons))
    return cut, f"records from {cut:%Y-%m-%d} on: {reasons[cut]}" if cut < wanted else ""
