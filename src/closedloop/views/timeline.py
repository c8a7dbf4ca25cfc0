"""The decisions, newest first, and everything behind each."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.checks import Check, Kind, Role
from closedloop.errors import RegistryError
from closedloop.registry.runs import REPORT
from closedloop.storage.details import PromotionDetails
from closedloop.storage.entry import Entry
from closedloop.turn.corrected_labels import count_corrections, tell_corrections
from closedloop.turn.open import Loop
from closedloop.turn.without_labels import tell_estimates
from closedloop.views.words import heading_of, sort_checks

PAGE_SIZE = 50


@dataclass(frozen=True)
class Timeline:
    """One page of decisions, newest first; `page` counts from 1."""

    entries: tuple[Entry, ...]
    page: int
    pages: int
    total: int


@dataclass(frozen=True)
class Links:
    """Where more is to be seen; None for what there is not."""

    run: str | None = None
    report: str | None = None
    prefect: str | None = None
    card: int | None = None


@dataclass(frozen=True)
class DecisionFacts:
    """A decision, its checks by role with the role's heading, and what it came from and led to.

    `notes` are sentences about the reading of the window; `compared` is set for a candidate.
    """

    entry: Entry
    groups: tuple[tuple[str, Role, tuple[Check, ...]], ...]
    notes: tuple[str, ...]
    cause: Entry | None
    led_to: tuple[Entry, ...]
    links: Links
    compared: PromotionDetails | None


def read_timeline(loop: Loop, page: int) -> Timeline:
    """A page of the decisions; a page beyond the ends is the nearest that there is."""
    entries = loop.journal.history(loop.use_case.name)
    pages = max(1, -(-len(entries) // PAGE_SIZE))
    page = min(max(page, 1), pages)
    newest = tuple(reversed(entries))
    shown = newest[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    return Timeline(shown, page, pages, len(entries))


def find_decision(loop: Loop, number: int) -> DecisionFacts | None:
    """Everything about one decision of this use case; None when there is no such decision."""
    entries = loop.journal.history(loop.use_case.name)
    entry = next((entry for entry in entries if entry.id == number), None)
    if entry is None:
        return None
    cause = next((other for other in entries if other.id == entry.cause), None)
    return DecisionFacts(
        entry,
        tuple(
            (heading_of(role, entry.decision), role, tuple(checks))
            for role, checks in sort_checks(entry.decision)
        ),
        (*entry.turn.notes, *tell_estimates(entry.turn), *_tell_corrected(loop, entry)),
        cause,
        tuple(other for other in entries if other.cause == entry.id),
        find_links(loop, entry, cause),
        entry.details if isinstance(entry.details, PromotionDetails) else None,
    )


def _tell_corrected(loop: Loop, entry: Entry) -> tuple[str, ...]:
    rows = count_corrections(loop, (entry,)).get(entry.id)
    return () if rows is None else (tell_corrections(rows),)


def find_links(loop: Loop, entry: Entry, cause: Entry | None) -> Links:
    """Where a decision's evidence is; a decision on a candidate has the run that trained it."""
    kept = entry.turn.run or (cause.turn.run if cause is not None else None)
    version = entry.decision.version
    judged = entry.decision.kind is Kind.PROMOTION and version is not None
    flow = kept.flow_run if kept is not None else None
    prefect = f"{loop.settings.prefect_address}/runs/flow-run/{flow}" if flow else None
    run, report = None, None
    # An MLflow that is away is told elsewhere.
    try:
        if judged and version is not None:
            run = _run_page(loop, loop.registry.version(version).run_id)
        elif entry.turn.run is not None and entry.turn.run.run:
            run = _run_page(loop, entry.turn.run.run)
            if REPORT in (entry.turn.run.report or ""):
                pruned = loop.registry.is_pruned(entry.turn.run.run)
                report = None if pruned else f"{run}/{REPORT}"
    except RegistryError:
        pass
    return Links(run, report, prefect, version if judged else None)


def _run_page(loop: Loop, run_id: str) -> str:
    return loop.registry.run_link(run_id, loop.mlflow_ui)
