"""Tables and sentences for people: how decisions, versions and findings look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from closedloop.cli_doctor import Finding
from closedloop.decisions import Outcome, Role
from closedloop.journal import Entry
from closedloop.loop import Loop

COLOURS = {
    "promote": "green",
    "rollback": "yellow",
    "retrain": "cyan",
    "reject": "magenta",
    "escalate": "red",
    "keep": "dim",
    "serve": "blue",
}
_SIGNS = {Outcome.HOLDS: "[green]holds[/green]", Outcome.FAILS: "[red]fails[/red]", Outcome.UNKNOWN: "[yellow]unknown[/yellow]"}


def coloured(action: str) -> str:
    """An action in its colour."""
    colour = COLOURS.get(action, "white")
    return f"[{colour}]{action}[/{colour}]"


def show_decision(console: Console, entry: Entry, *, every_check: bool = False) -> None:
    """A decision and its reason; with `every_check` the whole table behind it."""
    decision = entry.decision
    version = f", version {decision.version}" if decision.version is not None else ""
    outcome = entry.outcome or "not carried out yet"
    title = f"decision {entry.id}: {coloured(decision.action.value)} ({decision.kind.value}, {escape(decision.window)}{version}, {outcome})"
    lines = [escape(decision.reason)]
    if entry.outcome_detail:
        lines.append(escape(entry.outcome_detail))
    if report := entry.details.get("report"):
        lines.append(f"[dim]report: {escape(report)} (while closedloop up runs)[/dim]")
    if not every_check:
        lines.append(f"[dim]every check: closedloop why {entry.id}[/dim]")
    console.print(Panel("\n".join(lines), title=title, title_align="left"))
    if every_check:
        table = Table("role", "check", "outcome", "wanted", "got", box=None, pad_edge=False)
        for check in sorted(decision.checks, key=lambda one: list(Role).index(one.role)):
            table.add_row(check.role.value, escape(check.claim), _SIGNS[check.outcome], escape(check.wanted), escape(check.got))
        console.print(table)
        if entry.cause is not None:
            console.print(f"led to by decision {entry.cause}", style="dim", highlight=False)


def show_history(console: Console, entries: Sequence[Entry]) -> None:
    """One line a decision."""
    table = Table("id", "at (UTC)", "window", "kind", "action", "version", "outcome", "why", box=None, pad_edge=False)
    for one in entries:
        decision = one.decision
        table.add_row(str(one.id), one.at.strftime("%Y-%m-%d %H:%M"), escape(decision.window), decision.kind.value, coloured(decision.action.value),
                      "" if decision.version is None else str(decision.version), one.outcome or "open", escape(decision.reason))  # fmt: skip
    console.print(table if entries else "nothing was decided yet: closedloop monitor")


def read_status(loop: Loop) -> dict[str, Any]:
    """What `closedloop status --json` prints."""
    entries = loop.journal.history(loop.use_case.name)
    versions = loop.registry.versions()
    records = loop.records.count(loop.use_case.name)
    return {
        "use_case": loop.use_case.name,
        "production": loop.registry.production(),
        "previous": loop.registry.previous(),
        "versions": [{"version": one.version, "status": one.status, "aliases": list(one.aliases), "recipe": one.recipe, "window": one.window,
                      "trained_through": one.trained_through, "val_auc": one.val_auc} for one in versions],
        "last_decision": entries[-1].as_json() if entries else None,
        "open_decisions": [one.id for one in entries if one.outcome is None and one.decision.action.value in ("promote", "rollback", "retrain")],
        "records": {"predictions": records.predictions, "labels": records.labels},
    }  # fmt: skip


def show_status(console: Console, facts: dict[str, Any]) -> None:
    """The same for people."""
    live = facts["production"]
    console.print(
        f"[bold]{facts['use_case']}[/bold]: "
        + (f"production is version {live}" if live else "no production model yet: closedloop monitor"),
        highlight=False,
    )
    if facts["previous"]:
        console.print(f"one step back: version {facts['previous']} (closedloop rollback)", highlight=False)
    if facts["versions"]:
        table = Table("version", "status", "recipe", "for window", "trained through", "val_auc", box=None, pad_edge=False)
        for one in facts["versions"]:
            auc = "" if one["val_auc"] is None else f"{one['val_auc']:.4f}"
            table.add_row(str(one["version"]), one["status"], one["recipe"], one["window"], one["trained_through"], auc)
        console.print(table)
    console.print(f"records: {facts['records']['predictions']} predictions, {facts['records']['labels']} labels", highlight=False)
    if last := facts["last_decision"]:
        console.print(
            f"last decision: {last['id']}, {last['window']}: {coloured(last['action'])}: {escape(last['reason'])}", highlight=False
        )
    for number in facts["open_decisions"]:
        console.print(f"decision {number} was not carried out: run closedloop monitor again", style="yellow", highlight=False)


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """What the doctor found."""
    for one in findings:
        sign = "[green]ok  [/green]" if one.ok else "[red]mend[/red]"
        console.print(
            f"{sign} {escape(one.check)}: {escape(one.found)}" + ("" if one.ok else f" -> {escape(one.then)}"),
            soft_wrap=True,
            highlight=False,
        )
