"""Opens one use case: the only place where its source, stores and registry are chosen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from closedloop.bundle.own_code import allow_own_code
from closedloop.decisions.rollback_evidence import Served
from closedloop.records.archive.spans import open_archive
from closedloop.records.as_windows import RecordsSource
from closedloop.records.store import Records
from closedloop.registry.registry import Registry
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.storage.lock import hold_lock
from closedloop.training.learners import check_recipes
from closedloop.turn.compute import Compute
from closedloop.turn.dask_compute import DaskCompute
from closedloop.turn.moved_aliases import Live, ask_moved
from closedloop.turn.served_versions import compare_served
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.open_source import open_source
from closedloop.windows.sources import ChainedSource, WindowSource


@dataclass(frozen=True)
class Loop:
    """One use case, opened: its source, records, journal and registry."""

    use_case: UseCase
    settings: Settings
    source: WindowSource
    records: Records
    journal: Journal
    registry: Registry
    engine: Engine
    compute: Compute = field(default_factory=Compute)

    @contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Read the state and move it, one command of this use case at a time, wherever it runs.

        Held for as short as can be: a fit does not hold it. `purpose` is the command.
        """
        with hold_lock(f"{self.use_case.name}-turn", self.engine, purpose):
            yield

    @contextmanager
    def training_lock(self, purpose: str) -> Iterator[None]:
        """One training of this use case at a time, from its first look to its decision.

        Taken before `lock`, never inside of it.
        """
        with hold_lock(f"{self.use_case.name}-training", self.engine, purpose):
            yield

    @contextmanager
    def search_lock(self) -> Iterator[None]:
        """One search of this use case at a time; turns and trainings do not wait for it."""
        with hold_lock(f"{self.use_case.name}-experiment", self.engine, "experiment"):
            yield

    def tell_moved(self) -> tuple[str, ...]:
        """A sentence for each alias that somebody moved outside of closedloop."""
        registry = self.registry
        return ask_moved(
            self.journal,
            self.use_case.name,
            lambda: Live(registry.production(), registry.previous()),
        )

    def served(
        self, production: int | None, previous: int | None
    ) -> tuple[Served | None, Served | None]:
        """As `turn.ports.Parts`."""
        return compare_served(self.records, self.journal, self.use_case.name, production, previous)

    @property
    def mlflow_ui(self) -> str:
        """Where people see MLflow."""
        return self.settings.mlflow_ui


def open_loop(
    use_case: Path | str | None = None,
    *,
    settings: Settings | None = None,
    with_records: bool = False,
    if_whole: bool = False,
) -> Loop:
    """Open a use case: the source, the stores and the registry that the environment names.

    `with_records` lets the service's own records follow the windows of the source; `if_whole`
    leaves them out where they lack a column, instead of raising UseCaseError. Nothing is connected
    before it is used.
    """
    settings = settings or Settings()
    read = load_use_case(use_case or settings.use_case)
    allow_own_code(read)
    check_recipes(read)
    engine = open_engine(settings.store_url)
    archive = open_archive(settings.archive) if settings.archive else None
    records = Records(engine, sync=settings.records_sync, archive=archive)
    wanted = with_records and not (if_whole and read.unrecorded)
    source = choose_source(read, settings, records if wanted else None)
    registry = Registry(
        read.name,
        settings.tracking_uri,
        artifacts=settings.artifacts_folder,
        downloads=settings.home_folder / "bundles",
        tried=settings.tried_folder,
    )
    compute = DaskCompute(settings.dask) if settings.dask else Compute()
    return Loop(read, settings, source, records, Journal(engine), registry, engine, compute)


def choose_source(
    use_case: UseCase, settings: Settings, records: Records | None = None
) -> WindowSource:
    """The source of a use case, followed by the windows of the service's `records`, if given."""
    named = {"CLOSEDLOOP_SOURCE_URL": settings.source_url} if settings.source_url else {}
    source = open_source(use_case, settings.data, {**os.environ, **named})
    if records is None:
        return source
    return ChainedSource(source, RecordsSource(records, use_case, unfinished=True))


def read_git_revision(folder: Path) -> str:
    """The commit that a folder is at, `-dirty` behind it when files differ.

    `unknown` outside a repository.
    """
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
