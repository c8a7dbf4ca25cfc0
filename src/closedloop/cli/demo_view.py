"""What the demo prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from closedloop.cli.decision_view import coloured
from closedloop.cli.plain_text import plain
from closedloop.decisions.checks import Kind
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop


def show_month(console: Console, month: str, loop: Loop) -> None:
    """Print what was measured in a month, and each decision with its reasons, one to a line."""
    shown = (Kind.RETRAINING, Kind.PROMOTION, Kind.ROLLBACK)
    entries = [
        entry
        for entry in loop.journal.history(loop.use_case.name)
        if entry.decision.window == month and entry.decision.kind in shown
    ]
    facts = next((entry.turn for entry in entries if entry.turn.window), TurnDetails())
    measured = [f"{facts.window.rows if facts.window else 0:,} rows"]
    if facts.drift is not None and facts.drift.drift_share is not None:
        measured.append(f"drift_share {facts.drift.drift_share:.2f}")
    if facts.realised is not None and facts.realised.realised_auc is not None:
        measured.append(f"realised AUC {facts.realised.realised_auc:.3f}")
    console.print(f"\n[bold]{month}[/bold]: {', '.join(measured)}", highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(width=4, justify="right")
    table.add_column(width=20, no_wrap=True)
    table.add_column(ratio=1)
    for entry in entries:
        decision = entry.decision
        version = (
            ""
            if decision.version is None or decision.kind is Kind.RETRAINING
            else f" version {decision.version}"
        )
        table.add_row(
            str(entry.id),
            f"{coloured(decision.action.value)}{version}",
            plain(decision.reason.replace("; ", "\n")),
        )
    console.print(table)
    live = loop.registry.production() or "none"
    console.print(f"     production is version {live}", style="dim", highlight=False)


def show_answers(console: Console, answer: dict[str, Any]) -> None:
    """Print what the API answered."""
    console.print(f"\n[bold]the API answers from version {answer['version']}[/bold]")
    table = Table("prediction", "probability of each class", box=None, pad_edge=False)
    for prediction in answer["predictions"]:
        probabilities = prediction["probabilities"].items()
        table.add_row(
            str(prediction["prediction"]),
            ", ".join(f"{label} {probability:.3f}" for label, probability in probabilities),
        )
    console.print(table)


def show_outcomes(console: Console, outcomes: dict[str, Entry | None]) -> None:
    """Print where the journal shows each outcome."""
    console.print("\n[bold]in the journal[/bold]")
    table = Table("outcome", "month", "details", box=None, pad_edge=False)
    for name, entry in outcomes.items():
        table.add_row(
            name,
            entry.decision.window if entry else "-",
            f"closedloop why {entry.id}" if entry else "[red]missing[/red]",
        )
    console.print(table)


def show_next(console: Console, loop: Loop) -> None:
    """Print commands and addresses to go on with."""
    entries, settings = loop.journal.history(loop.use_case.name), loop.settings
    runs = [
        entry.turn.run.run
        for entry in entries
        if entry.turn.drift and entry.turn.drift.drift_over and entry.turn.run
    ]
    report = loop.registry.local_file(runs[-1], "drift_report.html") if runs and runs[-1] else None
    places = {
        "closedloop history": "every decision; with all its checks: closedloop why 3",
        **({"drift report": str(report)} if report else {}),
        "closedloop up": "MLflow, Prefect with its schedules, and the API, at:",
        "  MLflow": f"{loop.mlflow_ui}/#/experiments?workflowType=machine_learning",
        "  Prefect": settings.prefect_address,
        "  API": f"{settings.api_address}/docs",
        "your own table": "closedloop init TABLE --target COLUMN",
    }
    console.print("\n[bold]where to look next[/bold]")
    for name, place in places.items():
        # Unbroken: paths and addresses are clicked and copied.
        console.print(f"{name:20}{place}", highlight=False, soft_wrap=True, markup=False)
