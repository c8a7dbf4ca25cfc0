"""What `closedloop status` reads, and how it looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from closedloop.cli.decision_view import coloured
from closedloop.cli.plain_text import plain
from closedloop.decisions.checks import Kind
from closedloop.decisions.deciding_measure import MEASURES, read_measured
from closedloop.decisions.policy import PromotionPolicy
from closedloop.decisions.reference import reference_falls, tell_fall
from closedloop.errors import name_some
from closedloop.operations.access.servers_file import RunningServer
from closedloop.operations.housekeeping import read_housekeeping
from closedloop.registry.versions import PREVIOUS, PRODUCTION, VersionFacts
from closedloop.storage.details import (
    EstimateFacts,
    RealisedFacts,
    TurnDetails,
    read_details,
)
from closedloop.storage.entry import Entry
from closedloop.turn.agreement import find_disagreement
from closedloop.turn.approval import read_waits
from closedloop.turn.kept_out import read_kept_out
from closedloop.turn.open import Loop
from closedloop.turn.probation_standing import describe_probation, read_probation
from closedloop.turn.without_labels import tell_estimates
from closedloop.views.waiting import find_unfinished
from closedloop.views.words import brief_reason
from flows.prefect_client.standstill import find_standstill


def read_status(loop: Loop, environment: Mapping[str, str]) -> dict[str, Any]:
    """The output of `closedloop status --json`; `environment` may name a Prefect server."""
    entries = loop.journal.history(loop.use_case.name)
    decided = [entry for entry in entries if entry.decision.kind is not Kind.SERVING]
    records, versions = loop.records.count(loop.use_case.name), loop.registry.versions()
    disagreement = find_disagreement(entries, versions)
    return {
        "use_case": loop.use_case.name,
        "production": loop.registry.production(),
        "previous": loop.registry.previous(),
        "waiting": read_waits(loop),
        "moved": () if disagreement else loop.tell_moved(),
        "versions": [_version_facts(version) for version in versions],
        "disagreement": str(disagreement) if disagreement else None,
        "damaged": list(loop.journal.read_chain(loop.use_case.name).faults),
        "kept_out": read_kept_out(entries),
        "probation": None if disagreement else describe_probation(read_probation(loop)),
        "reference": _reference(versions, loop.use_case.policy.promotion),
        "last_decision": {**decided[-1].as_json(), "brief": brief_reason(decided[-1].decision)}
        if decided
        else None,
        "without_labels": _estimates(entries, loop.registry.production()),
        "open_decisions": find_unfinished(entries),
        "records": {"predictions": records.predictions, "labels": records.labels},
        "housekeeping": read_housekeeping(loop).as_json(),
        "standstill": find_standstill(loop.use_case.name, loop.settings.home_folder, environment),
    }


def _estimates(entries: Sequence[Entry], live: int | None) -> dict[str, Any] | None:
    """The newest estimate of production's AUC and how the one before it did; None if production has
    changed since."""
    newest = next((entry for entry in reversed(entries) if entry.turn.estimate), None)
    if newest is None or newest.production != live:
        return None
    realised = newest.turn.realised or RealisedFacts()
    return {
        "window": newest.decision.window,
        **asdict(newest.turn.estimate or EstimateFacts()),
        "estimated_for_judged": realised.estimated_for_judged,
        "realised_on": realised.realised_on,
        "realised_auc": realised.realised_auc,
    }


def _reference(versions: Sequence[VersionFacts], rules: PromotionPolicy) -> dict[str, Any] | None:
    """What losses are measured against, and the value before it if it fell; None without one."""
    live = next((version for version in versions if PRODUCTION in version.aliases), None)
    if live is None or live.val_auc is None:
        return None
    before = next((version for version in versions if PREVIOUS in version.aliases), None)
    found = [
        (None, None)
        if facts is None
        else read_measured(rules.measure, facts.val_auc, facts.val_auc_error, facts.measured)
        for facts in (before, live)
    ]
    fell = reference_falls(*found[0], *found[1], rules.confidence)
    shown = [None if value is None else MEASURES[rules.measure].turn(value) for value, _ in found]
    return {
        "val_auc": live.val_auc,
        "measure": rules.measure,
        "value": shown[1],
        "fell_from": shown[0] if fell else None,
    }


def _version_facts(version: VersionFacts) -> dict[str, Any]:
    return {
        "version": version.version,
        "status": version.status,
        "aliases": list(version.aliases),
        "recipe": version.recipe,
        "window": version.window,
        "trained_through": version.trained_through,
        "val_auc": version.val_auc,
    }


def show_status(
    console: Console, facts: dict[str, Any], running: Mapping[str, RunningServer] | None = None
) -> None:
    """Print the facts of `read_status` for people, and links to what is `running`, by name."""

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False)

    for waits in facts["waiting"]:
        line(plain(waits["told"]), "bold bright_yellow")
    live = facts["production"]
    production = (
        f"production is version {live}" if live else "no production model yet: closedloop monitor"
    )
    line(f"[bold]{facts['use_case']}[/bold]: {production}")
    if facts["previous"]:
        line(f"before it: version {facts['previous']} (closedloop rollback)")
    for moved in facts["moved"]:
        line(plain(moved), "bold red")
    if facts["disagreement"]:
        line(f"registry and journal disagree: {plain(facts['disagreement'])}", "red")
    if facts["damaged"]:
        damaged = name_some(facts["damaged"], 3)
        line(f"the journal was changed: {plain(damaged)} (closedloop doctor)", "red")
    if facts["versions"]:
        console.print(_versions_table(facts["versions"]))
    for kept in facts["kept_out"]:
        line(plain(kept["told"]), "yellow")
    for told in (facts.get("probation") or {}).get("told", ()):
        line(plain(told))
    reference = facts["reference"]
    if reference and reference["fell_from"] is not None:
        measure = MEASURES[reference["measure"]]
        before, now = (measure.turn(reference[name]) for name in ("fell_from", "value"))
        line(tell_fall(before, now, reference["measure"]), "yellow")
    records = facts["records"]
    line(f"records: {records['predictions']} predictions, {records['labels']} labels")
    if last := facts["last_decision"]:
        lost = f" (superseded: {plain(last['outcome_detail'])})"
        line(
            f"last decision: {last['id']}, {plain(last['window'])}: "
            f"{coloured(last['action'])}{lost if last['outcome'] == 'superseded' else ''}: "
            f"{plain(last['brief'])}"
        )
    if estimates := facts["without_labels"]:
        for sentence in tell_estimates(read_details(TurnDetails, estimates)):
            line(f"{plain(estimates['window'])}: {plain(sentence)}")
    for number in facts["open_decisions"]:
        line(f"decision {number} was not carried out: run closedloop monitor again", "yellow")
    for sentence in facts["housekeeping"]["told"]:
        line(plain(sentence))
    for sentence in facts["standstill"] or ():
        line(plain(sentence), "yellow")
    for name, server in (running or {}).items():
        # Unbroken: addresses are clicked.
        console.print(f"{name}: {server.link()}", soft_wrap=True, highlight=False, markup=False)


def _versions_table(versions: Sequence[dict[str, Any]]) -> Table:
    headings = ("version", "status", "recipe", "for window", "trained through", "val_auc")
    table = Table(*headings, box=None, pad_edge=False)
    for version in versions:
        table.add_row(
            str(version["version"]),
            version["status"],
            plain(version["recipe"]),
            plain(version["window"]),
            plain(version["trained_through"]),
            "" if version["val_auc"] is None else f"{version['val_auc']:.4f}",
        )
    return table
