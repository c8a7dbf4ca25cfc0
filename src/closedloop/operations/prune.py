"""Deletes model files, drift reports and records that nothing needs any more, so that disks do not
fill.

What to delete is planned first. The journal stays, and so does every version with its number, tags
and evidence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from closedloop.errors import ModelError, RegistryError, UseCaseError
from closedloop.records.as_windows import length_of_windows, start_of_window
from closedloop.registry.runs import REPORT
from closedloop.registry.versions import PRODUCTION, PRUNED, PRUNING, VersionFacts
from closedloop.storage.entry import Entry
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.open import Loop
from closedloop.windows.periods import start_of
from closedloop.windows.time_column import zone_of

GIVEN_UP = ("rejected", "archived")


@dataclass(frozen=True)
class KeepRules:
    """How much to keep: rejected and archived versions, drift reports, days of records (0: all)."""

    versions: int
    reports: int
    days_of_records: int

    def __post_init__(self) -> None:
        if negative := [name for name, value in asdict(self).items() if value < 0]:
            raise UseCaseError(
                where="prune",
                wanted="numbers to keep, 0 or more",
                got=f"a negative number for {negative[0]}",
                then="choose how many to keep",
            )


@dataclass(frozen=True)
class Pruning:
    """What to delete: the files of `versions`, and numbers of drift reports and rows of records.

    All these rows were answered before `records_before`. `kept_back` says why records that are old
    enough to go are kept, and is empty when none are. `archived` days have files in the archive
    that go with them.
    """

    versions: tuple[int, ...]
    reports: int
    records: int
    records_before: datetime | None
    kept_back: str
    archived: int = 0

    def as_json(self) -> dict[str, Any]:
        """The output of `closedloop prune --json`."""
        before = self.records_before and self.records_before.isoformat()
        return {**asdict(self), "versions": list(self.versions), "records_before": before}


def prune(loop: Loop, rules: KeepRules, *, dry_run: bool = False) -> Pruning:
    """Delete what nothing needs, or in a dry run only return it.

    Waits for a running turn and a running training, which may still read what it would delete.

    After a crash the same call continues. Raises RegistryError or StoreError when MLflow or the
    database cannot be reached.
    """
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(loop.training_lock("prune"))
            stack.enter_context(loop.lock("prune"))
        found = plan_pruning(loop, rules)
        if not dry_run:
            for version in found.versions:
                loop.registry.prune(version)
            if found.reports:
                loop.registry.drop_files(REPORT, keep=rules.reports)
            if found.records_before is not None:
                loop.records.delete_before(loop.use_case.name, found.records_before)
    return found


def tell_pruning(found: Pruning, *, dry_run: bool) -> list[str]:
    """What was or would be deleted, a line each."""
    verb = "would delete" if dry_run else "deleted"
    versions = ", ".join(map(str, found.versions)) or "none"
    before = f" answered before {found.records_before:%Y-%m-%d}" if found.records_before else ""
    return [
        f"{verb} the model files of versions: {versions}",
        f"{verb} {found.reports} drift reports",
        f"{verb} {found.records} rows of records{before}, and their labels",
        *([f"{verb} the files of {found.archived} days in the archive"] if found.archived else []),
        *([f"kept, although older: {found.kept_back}"] if found.kept_back else []),
    ]


def plan_pruning(loop: Loop, rules: KeepRules) -> Pruning:
    """Choose what to delete; changes nothing.

    Raises RegistryError or StoreError when registry and journal disagree: other people's files may
    be there.
    """
    refuse_disagreement(loop)
    entries = loop.journal.history(loop.use_case.name)
    awaited = {
        entry.decision.version
        for entry in entries
        if entry.outcome is None and entry.decision.version is not None
    }
    versions = choose_versions(loop.registry.versions(), rules.versions, awaited)
    reports = max(loop.registry.count_files(REPORT) - rules.reports, 0)
    before, kept_back = _choose_records(loop, rules.days_of_records, entries)
    records, archived = (0, 0) if before is None else _count_before(loop, before)
    cut = before if records or archived else None
    return Pruning(versions, reports, records, cut, kept_back, archived)


def _count_before(loop: Loop, moment: datetime) -> tuple[int, int]:
    """How many rows were answered before, and how many days in the archive began before."""
    name, archive = loop.use_case.name, loop.records.archive
    archived = 0 if archive is None else len(archive.days_before(name, moment))
    return loop.records.count_before(name, moment), archived


def choose_versions(
    versions: Sequence[VersionFacts], keep: int, awaited: Collection[int] = ()
) -> tuple[int, ...]:
    """The versions whose files to delete, oldest first.

    Rejected or archived, older than production, and not among the newest `keep` of these; also
    those whose deletion was interrupted. Never a version that has an alias, waits for a decision,
    belongs to an unfinished decision (`awaited`), or shares its files with a version that stays.
    Without production none.
    """
    live = next((version.version for version in versions if PRODUCTION in version.aliases), None)
    given_up = [
        version
        for version in versions
        if live is not None and version.version < live and _deletable(version, awaited)
    ]
    numbers = sorted(version.version for version in given_up if version.status != PRUNING)
    interrupted = {version.version for version in given_up if version.status == PRUNING}
    chosen = {*numbers[: max(len(numbers) - keep, 0)], *interrupted}
    # A registration that was repeated because its answer was lost leaves two versions of one run.
    needed = {
        version.run_id
        for version in versions
        if version.version not in chosen and version.status != PRUNED
    }
    return tuple(
        version.version
        for version in given_up
        if version.version in chosen and version.run_id not in needed
    )


def _deletable(version: VersionFacts, awaited: Collection[int]) -> bool:
    # Without a key or run, somebody else registered it.
    ours = bool(version.key and version.run_id)
    return (
        ours
        and not version.aliases
        and version.version not in awaited
        and version.status in (*GIVEN_UP, PRUNING)
    )


def _choose_records(loop: Loop, days: int, entries: Sequence[Entry]) -> tuple[datetime | None, str]:
    """The time before which to delete records, None for no record, and why some are kept back."""
    if days == 0:
        return None, ""
    name, now = loop.use_case.name, loop.records.now()
    every, zone = length_of_windows(loop.use_case), zone_of(loop.use_case.source)
    periods = loop.records.read_periods(name, every, now, zone)
    try:
        trained = _trained_on(loop)
    except (ModelError, RegistryError) as error:
        return None, f"all records: unknown what production was trained on: {error}"
    if trained is None:
        return (
            None,
            "all records: without production, the first model may be trained on them",
        )
    if not trained and any(
        start_of_window(entry.decision.window, loop.use_case) for entry in entries
    ):
        return (
            None,
            "all records: they are monitored, and production has not been trained on any yet",
        )
    labelled = loop.records.newest_labelled(name)
    # Quarantine compares the newest labelled window with those before it.
    memory = loop.use_case.policy.quarantine.memory_windows
    return choose_cut(
        periods,
        start_of(now - timedelta(days=days), every, zone),
        trained,
        labelled and start_of(labelled, every, zone),
        memory,
    )


def _trained_on(loop: Loop) -> tuple[datetime, ...] | None:
    """Starts of the windows of records that production and previous were trained on.

    None without production.
    """
    live, before = loop.registry.production(), loop.registry.previous()
    if live is None:
        return None
    windows = [
        name
        for version in (live, before)
        if version is not None
        for name in loop.registry.load(version).facts.trained_windows
    ]
    starts = (start_of_window(name, loop.use_case) for name in windows)
    return tuple(start for start in starts if start is not None)


def choose_cut(
    starts: Sequence[datetime],
    wanted: datetime,
    trained: Sequence[datetime],
    labelled: datetime | None,
    memory: int,
) -> tuple[datetime, str]:
    """The start of the first window to keep, and why it is before the `wanted` one, if it is.

    `starts` of windows with records, oldest first; `trained` are those that production or previous
    was trained on; `labelled` is the newest with a label: it is kept, and so are the `memory` ones
    before it. Only whole windows are deleted, because a window never changes.
    """
    reasons = (
        {min(trained): "production, or the version it replaced, was trained on them"}
        if trained
        else {}
    )
    if labelled is not None:
        reached = sum(start < labelled for start in starts)
        looked_back = starts[max(reached - memory, 0)] if reached else labelled
        reasons.setdefault(
            looked_back, f"the newest labelled window is compared with the {memory} before it"
        )
    cut = min((wanted, *reasons))
    return cut, f"records from {cut:%Y-%m-%d} on: {reasons[cut]}" if cut < wanted else ""
