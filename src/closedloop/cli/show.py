"""Tables and sentences for people: how decisions, versions and findings look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from closedloop.cli.doctor import Finding
from closedloop.decisions.checks import Action, Decision, Kind, Outcome, Role
from closedloop.registry.versions import VersionFacts
from closedloop.storage.details import EstimateFacts, RealisedFacts, TurnDetails, read_details
from closedloop.storage.journal import Entry
from closedloop.turn.open import Loop
from closedloop.turn.without_labels import tell_estimates

COLOURS = {
    "promote": "green",
    "rollback": "yellow",
    "retrain": "cyan",
    "reject": "magenta",
    "escalate": "red",
    "keep": "dim",
    "serve": "blue",
}
BRIEF_CLAIMS = 3
WIDE = 100
_SIGNS = {
    Outcome.HOLDS: "[green]holds[/green]",
    Outcome.FAILS: "[red]fails[/red]",
    Outcome.UNKNOWN: "[yellow]unknown[/yellow]",
}


def coloured(action: str) -> str:
    """An action in its colour."""
    colour = COLOURS.get(action, "white")
    return f"[{colour}]{action}[/{colour}]"


def reason_of(decision: Decision) -> str:
    """The whole reason; of a decision that only notes something, what it notes."""
    if any(check.role is not Role.NOTE for check in decision.checks):
        return decision.reason
    return "; ".join(f"{check.claim}: {check.got}" for check in decision.checks)


def brief_reason(decision: Decision) -> str:
    """The first claims of the reason; how many more there are is said."""
    claims = reason_of(decision).split("; ")
    left_out = len(claims) - BRIEF_CLAIMS
    return "; ".join(claims[:BRIEF_CLAIMS]) + (f"; and {left_out} more" if left_out > 0 else "")


def report_link(loop: Loop, entry: Entry) -> str | None:
    """Where the report of a decision can be seen: at the MLflow server that the environment names
    now, whatever it was then."""
    link = entry.turn.run.report if entry.turn.run else None
    if link is None or "/#/" not in link:
        return link
    page = link.partition("/#/")[2]
    # Without it MLflow shows these runs as evaluations of language models.
    return f"{loop.mlflow_ui}/#/{page}?workflowType=machine_learning"


def show_decision(
    console: Console, entry: Entry, *, report: str | None = None, every_check: bool = False
) -> None:
    """A decision and its reason; with `every_check` the whole table behind it."""
    decision = entry.decision
    version = f", version {decision.version}" if decision.version is not None else ""
    outcome = entry.outcome or "not carried out yet"
    title = f"decision {entry.id}: {coloured(decision.action.value)} ({decision.kind.value}, {escape(decision.window)}{version}, {outcome})"
    lines = [escape(reason_of(decision))]
    if str(entry.note):
        lines.append(escape(str(entry.note)))
    lines += [escape(told) for told in tell_estimates(entry.turn)]
    if not every_check:
        lines.append(f"[dim]every check: closedloop why {entry.id}[/dim]")
    console.print(Panel("\n".join(lines), title=title, title_align="left"))
    if every_check:
        table = Table("role", "check", "outcome", "wanted", "got", box=None, pad_edge=False)
        for check in sorted(decision.checks, key=lambda one: list(Role).index(one.role)):
            table.add_row(
                check.role.value,
                escape(check.claim),
                _SIGNS[check.outcome],
                escape(check.wanted),
                escape(check.got),
            )
        console.print(table)
    if entry.cause is not None:
        console.print(f"led to by decision {entry.cause}", style="dim", highlight=False)
    if report:
        # Outside of the box and in one line, so that it can be clicked and copied.
        console.print(
            f"report, while closedloop up runs: {escape(report)}", soft_wrap=True, highlight=False
        )


def show_history(console: Console, entries: Sequence[Entry]) -> None:
    """A line or two a decision, narrower where the terminal is."""
    if not entries:
        console.print("nothing was decided yet: closedloop monitor", highlight=False)
        return
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False)
    for name in ("id", *(("at (UTC)",) if wide else ()), "window", "decision"):
        table.add_column(name, no_wrap=True)
    table.add_column("version", justify="right")
    table.add_column("why")
    for one in entries:
        decision = one.decision
        at = (one.at.strftime("%Y-%m-%d %H:%M"),) if wide else ()
        outcome = "" if one.outcome == "done" else f" ({one.outcome or 'open'})"
        why = "\n".join(
            (
                escape(brief_reason(decision)),
                *(f"[dim]{escape(told)}[/dim]" for told in tell_estimates(one.turn)),
            )
        )
        table.add_row(
            str(one.id),
            *at,
            escape(decision.window),
            coloured(decision.action.value) + outcome,
            "" if decision.version is None else str(decision.version),
            why,
        )
    console.print(table)
    console.print("every check of one: closedloop why ID", style="dim", highlight=False)


def read_status(loop: Loop) -> dict[str, Any]:
    """What `closedloop status --json` prints."""
    entries = loop.journal.history(loop.use_case.name)
    judged = [one for one in entries if one.decision.kind is not Kind.SERVING]
    acting = [
        one
        for one in entries
        if one.decision.action in (Action.PROMOTE, Action.ROLLBACK, Action.RETRAIN)
    ]
    records = loop.records.count(loop.use_case.name)
    return {
        "use_case": loop.use_case.name,
        "production": loop.registry.production(),
        "previous": loop.registry.previous(),
        "versions": [_version_facts(one) for one in loop.registry.versions()],
        "last_decision": {**judged[-1].as_json(), "brief": brief_reason(judged[-1].decision)}
        if judged
        else None,
        "without_labels": _estimates(entries, loop.registry.production()),
        "open_decisions": [one.id for one in acting if one.outcome is None],
        "records": {"predictions": records.predictions, "labels": records.labels},
    }


def _estimates(entries: Sequence[Entry], live: int | None) -> dict[str, Any] | None:
    """What the newest turn estimated, and how an earlier estimate did; None when it was about
    another production than today's."""
    newest = next((entry for entry in reversed(entries) if entry.turn.estimate), None)
    if newest is None or newest.production != live:
        return None
    estimate = newest.turn.estimate or EstimateFacts()
    realised = newest.turn.realised or RealisedFacts()
    return {
        "window": newest.decision.window,
        **asdict(estimate),
        "estimated_for_judged": realised.estimated_for_judged,
        "realised_on": realised.realised_on,
        "realised_auc": realised.realised_auc,
    }


def _version_facts(one: VersionFacts) -> dict[str, Any]:
    return {
        "version": one.version,
        "status": one.status,
        "aliases": list(one.aliases),
        "recipe": one.recipe,
        "window": one.window,
        "trained_through": one.trained_through,
        "val_auc": one.val_auc,
    }


def show_status(console: Console, facts: dict[str, Any]) -> None:
    """The same for people."""
    live = facts["production"]
    console.print(
        f"[bold]{facts['use_case']}[/bold]: "
        + (
            f"production is version {live}"
            if live
            else "no production model yet: closedloop monitor"
        ),
        highlight=False,
    )
    if facts["previous"]:
        console.print(
            f"one step back: version {facts['previous']} (closedloop rollback)", highlight=False
        )
    if facts["versions"]:
        table = Table(
            "version",
            "status",
            "recipe",
            "for window",
            "trained through",
            "val_auc",
            box=None,
            pad_edge=False,
        )
        for one in facts["versions"]:
            auc = "" if one["val_auc"] is None else f"{one['val_auc']:.4f}"
            table.add_row(
                str(one["version"]),
                one["status"],
                one["recipe"],
                one["window"],
                one["trained_through"],
                auc,
            )
        console.print(table)
    console.print(
        f"records: {facts['records']['predictions']} predictions, {facts['records']['labels']} labels",
        highlight=False,
    )
    if last := facts["last_decision"]:
        console.print(
            f"last decision: {last['id']}, {escape(last['window'])}: {coloured(last['action'])}: {escape(last['brief'])}",
            highlight=False,
        )
    if found := facts["without_labels"]:
        for told in tell_estimates(read_details(TurnDetails, found)):
            console.print(f"{escape(found['window'])}: {escape(told)}", highlight=False)
    for number in facts["open_decisions"]:
        console.print(
            f"decision {number} was not carried out: run closedloop monitor again",
            style="yellow",
            highlight=False,
        )


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """What the doctor found."""
    for one in findings:
        sign = "[green]ok  [/green]" if one.ok else "[red]mend[/red]"
        console.print(
            f"{sign} {escape(one.check)}: {escape(one.found)}"
            + ("" if one.ok or not one.then else f" -> {escape(one.then)}"),
            soft_wrap=True,
            highlight=False,
        )
