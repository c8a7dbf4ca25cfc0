"""Copies a use case to other stores: runs and versions to another MLflow, decisions, answers and
labels to another database.

It can be stopped anywhere: `production` is set last, when everything else is copied and checked.
What is already there stays, so the same command continues where it was interrupted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.errors import RegistryError, StoreError, UseCaseError
from closedloop.operations.moving.journal_copy import JournalCopy, Rewrite
from closedloop.operations.moving.records_copy import copy_records
from closedloop.operations.moving.registry_contents import (
    check_source,
    count_runs,
    describe_versions,
)
from closedloop.operations.moving.registry_copy import RegistryCopy
from closedloop.operations.progress import OnProgress
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.registry.registry import Registry
from closedloop.registry.versions import VersionFacts
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.open import Loop

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Given a title, shows the progress of a block.
ShowProgress = Callable[[str], AbstractContextManager[OnProgress]]


@dataclass(frozen=True)
class Destination:
    """The opened stores to copy to."""

    engine: Engine
    registry: RegistryCopy


@dataclass(frozen=True)
class Holdings:
    """How much the stores hold of a use case."""

    versions: int
    runs: int
    decisions: int
    answered_rows: int
    labels: int


@dataclass(frozen=True)
class Compared:
    """One thing compared on both sides after copying."""

    what: str
    here: str
    there: str
    same: bool


@dataclass(frozen=True)
class Migration:
    """What was found here, what was missing there, and how both sides compare afterwards.

    `changes` counts outcomes, tags and aliases that changed since an earlier copy. The ids of the
    newest decisions are `shift` higher there. A dry run compares nothing.
    """

    found: Holdings
    missing: Holdings
    changes: int
    shift: int
    compared: tuple[Compared, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.changes or any(vars(self.missing).values()))

    @property
    def same(self) -> bool:
        """Whether both sides are the same in everything compared."""
        return all(comparison.same for comparison in self.compared)


@contextmanager
def open_destination(loop: Loop, database: str, mlflow: str) -> Iterator[Destination]:
    """The stores at two addresses, for the use case of `loop`.

    Raises UseCaseError when they cannot be a target, RegistryError when MLflow does not answer,
    StoreError for a malformed address.
    """
    if not mlflow.startswith(("http://", "https://")):
        raise UseCaseError(
            where="--to-mlflow",
            wanted="the address of an MLflow server, http:// or https://",
            got=mlflow.partition(":")[0],
            then="use the server that the team shares",
        )
    name, settings = loop.use_case.name, loop.settings
    try:
        engine = open_engine(database)
    except StoreError as error:
        raise StoreError(
            where="--to-database", wanted=error.wanted, got=error.got, then=error.then
        ) from error
    if engine.url == loop.engine.url or mlflow.rstrip("/") == settings.tracking_uri.rstrip("/"):
        raise UseCaseError(
            where="--to-database and --to-mlflow",
            wanted="other stores than those in use now",
            got="one of these",
            then="compare them with CLOSEDLOOP_DATABASE_URL and MLFLOW_TRACKING_URI",
        )
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registry = RegistryCopy(name, mlflow, artifacts=settings.artifacts_folder, downloads=folder)
        try:
            registry.ping()
        except RegistryError as error:
            raise RegistryError(
                where=error.where,
                wanted=error.wanted,
                got=error.got,
                then="check --to-mlflow, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            ) from error
        yield Destination(engine, registry)


def migrate(
    loop: Loop, target: Destination, show_progress: ShowProgress, *, dry_run: bool = False
) -> Migration:
    """Copy what the target lacks and compare both sides; a dry run only counts.

    No turn runs meanwhile. Raises RegistryError or StoreError, with nothing written, when the
    target holds versions or decisions of this name that are not copies, when a version here is
    damaged, when journal and registry here disagree, or when there is nothing to copy.
    """
    name = loop.use_case.name
    with ExitStack() as stack:
        with show_progress("waiting for the running turn or training"):
            stack.enter_context(loop.training_lock("migrate"))
            stack.enter_context(loop.lock("migrate"))
            if not dry_run:
                there = replace(loop, engine=target.engine)
                stack.enter_context(there.training_lock("migrate"))
                stack.enter_context(there.lock("migrate"))
        refuse_disagreement(loop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = Registry(
            name,
            loop.settings.tracking_uri,
            artifacts=loop.settings.artifacts_folder,
            downloads=folder,
        )
        journal = JournalCopy(loop.engine, target.engine, name)
        found = _count(loop, source, journal)
        target.registry.refuse_foreign(source)
        left, unwritten = target.registry.left_to_copy(source), journal.left_to_copy()
        with show_progress("checking the models here") as report:
            check_source(source, report)
        if dry_run:
            with show_progress("counting answers") as report:
                rows = copy_records(loop.engine, target.engine, name, report, write=False)
        else:
            rows = _copy(loop, source, target, journal, show_progress)
        missing = Holdings(
            left.versions, left.runs, unwritten.decisions, rows.predictions, rows.labels
        )
        compared = () if dry_run else _compare(loop, source, target, journal)
        return Migration(
            found, missing, left.changes + unwritten.outcomes, unwritten.shift, compared
        )


def _count(loop: Loop, source: Registry, journal: JournalCopy) -> Holdings:
    records = loop.records.count(loop.use_case.name)
    found = Holdings(
        len(source.versions()),
        count_runs(source),
        journal.look_here()[0],
        records.predictions,
        records.labels,
    )
    if not any(vars(found).values()):
        raise StoreError(
            where=f"use case {loop.use_case.name}",
            wanted="something to copy",
            got="no version, run, decision or answer here",
            then="check CLOSEDLOOP_HOME, CLOSEDLOOP_DATABASE_URL and MLFLOW_TRACKING_URI",
        )
    return found


def _copy(
    loop: Loop,
    source: Registry,
    target: Destination,
    journal: JournalCopy,
    show_progress: ShowProgress,
) -> RecordCounts:
    """Copy everything in order; returns the number of answers and labels."""
    with show_progress("copying runs") as report:
        runs = target.registry.copy_runs(source, report)
    with show_progress("copying versions") as report:
        target.registry.copy_versions(source, runs, journal.look_here()[1], report)
    with show_progress("checking the copied models") as report:
        target.registry.check_files(source, report)
    Journal(target.engine).use_cases()  # creates the tables
    journal.copy(_rewriting(target.registry, runs))
    with show_progress("copying answers") as report:
        rows = copy_records(loop.engine, target.engine, loop.use_case.name, report)
    target.registry.copy_aliases(source)
    return rows


def _rewriting(registry: RegistryCopy, runs: dict[str, str]) -> Rewrite:
    """Replaces the run id and the report link in the details of a decision by those of the copy."""

    def rewrite(details: dict[str, Any]) -> dict[str, Any]:
        run = runs.get(details.get("run", ""))
        if run is None:
            return details
        page = registry.run_link(run, registry.tracking_uri)
        return {
            **details,
            "run": run,
            **({"report": page + _file(details["report"])} if "report" in details else {}),
        }

    return rewrite


def _file(link: str) -> str:
    return link.partition("/artifacts")[2]


def _compare(
    loop: Loop, source: Registry, target: Destination, journal: JournalCopy
) -> tuple[Compared, ...]:
    name = loop.use_case.name
    here, there = describe_versions(source), describe_versions(target.registry)
    newest = journal.tell_newest()
    ours, theirs = loop.records.count(name), Records(target.engine).count(name)
    runs = count_runs(source), target.registry.count_runs(source)
    return (
        Compared(
            "versions, their aliases and tags", _describe(here), _describe(there), here == there
        ),
        Compared(
            "sha256 of model files",
            f"{len(here)} as registered",
            f"{len(there)} as registered",
            len(here) == len(there),
        ),
        Compared("runs", str(runs[0]), str(runs[1]), runs[0] == runs[1]),
        Compared("decisions", *newest, newest[0] == newest[1]),
        # An API that already answers there records more.
        Compared(
            "answered rows",
            str(ours.predictions),
            str(theirs.predictions),
            ours.predictions <= theirs.predictions,
        ),
        Compared("labels", str(ours.labels), str(theirs.labels), ours.labels <= theirs.labels),
    )


def _describe(versions: list[VersionFacts]) -> str:
    return (
        ", ".join(
            f"{version.version} {'/'.join(version.aliases) or version.status}"
            for version in versions
        )
        or "none"
    )
