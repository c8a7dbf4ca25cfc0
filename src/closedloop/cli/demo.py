"""`closedloop demo`: seven months of a subscription business. The months are planned; what is
decided about them is not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from closedloop.bundle.skops_model import load_libraries
from closedloop.cli.show import coloured
from closedloop.decisions.checks import Action, Kind
from closedloop.errors import ClosedLoopError, StoreError
from closedloop.metrics.evidently_report import load_evidently
from closedloop.settings import DEFAULT_USE_CASE, Settings
from closedloop.storage.journal import Entry
from closedloop.turn.open import Loop, open_loop
from closedloop.windows.sources import write_generated
from closedloop.windows.synthetic import generate_windows

MONTHS = 7


def play_demo(console: Console) -> None:
    """Generate the months, let the loop turn once a month, ask the API, and say where to look next.

    Raises ClosedLoopError when the loop did not show all that the demo promises.
    """
    # The demo brings its own data, whatever CLOSEDLOOP_DATA says.
    loop = open_loop(DEFAULT_USE_CASE, settings=Settings(data=None))
    home = loop.settings.home_folder
    opening = f"{MONTHS} months of a subscription business: who will cancel?\nuse case {DEFAULT_USE_CASE}, everything kept under {home}"
    console.print(Panel(opening, title="closedloop demo", title_align="left"), highlight=False)
    from flows.deployment.embedded_server import embedded_prefect, using

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with embedded_prefect(home / "logs" / "prefect.log") as prefect, progress:
        task = progress.add_task("writing the months", total=MONTHS + 2)
        write_generated(loop.use_case, None, generate_windows("streamflow", MONTHS))
        progress.update(task, advance=1, description="starting MLflow and Prefect")
        loop.registry.start()
        load_evidently()
        load_libraries()
        from flows.monitor_flow import monitor_flow

        with using(prefect):
            for month in loop.source.windows()[:MONTHS]:
                progress.update(task, description=f"{month}: the loop turns")
                monitor_flow(use_case=str(loop.use_case.path), window=month)
                _show_month(console, month, loop)
                progress.advance(task)
        progress.update(task, description="asking the API")
        _ask_api(console, loop)
        progress.advance(task)
    _show_outcomes(console, loop)
    _show_next(console, loop)


def forget_demo(console: Console) -> None:
    """Remove the demo's data, models and journal; refuses when something else is kept beside
    them."""
    loop = open_loop(DEFAULT_USE_CASE, settings=Settings(data=None))
    home, generated = (
        loop.settings.home_folder,
        loop.use_case.path.parent / loop.use_case.source.root,
    )
    if loop.settings.database_url or loop.settings.mlflow_url:
        raise StoreError(
            where="demo",
            wanted="the embedded default",
            got="a database or an MLflow server named by the environment",
            then="unset CLOSEDLOOP_DATABASE_URL and MLFLOW_TRACKING_URI first",
        )
    if home.exists():
        others = sorted({one for one in loop.journal.use_cases() if one != loop.use_case.name})
        if others:
            raise StoreError(
                where=str(home),
                wanted="nothing but the demo",
                got=f"decisions about {', '.join(others)}",
                then="remove the folder yourself, or keep it; CLOSEDLOOP_HOME gives others their own home",
            )
    loop.engine.dispose()
    for folder in (home, generated):
        if folder.exists():
            shutil.rmtree(folder)
    console.print(f"forgot {home} and {generated}", highlight=False, soft_wrap=True)


def _of_month(month: str, loop: Loop) -> list[Entry]:
    judgements = (Kind.RETRAINING, Kind.PROMOTION, Kind.ROLLBACK)
    return [
        one
        for one in loop.journal.history(loop.use_case.name)
        if one.decision.window == month and one.decision.kind in judgements
    ]


def _show_month(console: Console, month: str, loop: Loop) -> None:
    entries = _of_month(month, loop)
    facts = next((one.details for one in entries if "rows" in one.details), {})
    seen = [f"{facts.get('rows', 0):,} rows"]
    if facts.get("drift_share") is not None:
        seen.append(f"drift_share {facts['drift_share']:.2f}")
    if facts.get("realised_auc") is not None:
        seen.append(f"realised AUC {facts['realised_auc']:.3f}")
    table = Table(
        title=f"{month}: {', '.join(seen)}; production is version {loop.registry.production() or 'none'}",
        title_justify="left",
        title_style="bold",
        expand=True,
    )
    table.add_column("id", justify="right")
    table.add_column("decision", no_wrap=True)
    table.add_column("version", justify="right")
    table.add_column("why", ratio=1)
    for one in entries:
        version = "" if one.decision.version is None else str(one.decision.version)
        table.add_row(
            str(one.id),
            f"{one.decision.kind.value}: {coloured(one.decision.action.value)}",
            version,
            escape(one.decision.reason),
        )
    console.print(table)


def _ask_api(console: Console, loop: Loop) -> None:
    """Start the API on a free port, ask it about three customers of the newest month, and stop
    it."""
    import json
    import urllib.request

    from closedloop.cli.serve import serving

    rows = loop.source.read(loop.source.windows()[MONTHS - 1])[list(loop.use_case.columns)].head(3)
    asked = json.loads(rows.to_json(orient="records"))
    with serving(loop.use_case, loop.settings, "127.0.0.1", 0) as address:
        request = urllib.request.Request(
            f"{address}/predict",
            json.dumps({"rows": asked}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    table = Table(
        title=f"the API answers from version {answer['version']}",
        title_justify="left",
        title_style="bold",
    )
    for name in ("prediction", "probability of each class", "prediction id"):
        table.add_column(name)
    for one in answer["predictions"]:
        said = ", ".join(f"{label} {value:.3f}" for label, value in one["probabilities"].items())
        table.add_row(str(one["prediction"]), said, one["id"])
    console.print(table)


def find_outcomes(entries: Sequence[Entry]) -> dict[str, Entry | None]:
    """What the demo promises to show, each with the decision that shows it; None for what did not
    come."""
    by_id = {one.id: one for one in entries}

    def first(kind: Kind, action: Action, *, after_drift: bool | None = None) -> Entry | None:
        for one in entries:
            drifted = any(
                check.claim.startswith("drift_share") and check.outcome == "holds"
                for check in _cause(one, by_id).decision.checks
            )
            if (
                one.decision.kind is kind
                and one.decision.action is action
                and after_drift in (None, drifted)
                and one.outcome == "done"
            ):
                return one
        return None

    return {
        "the first model trained and promoted": first(
            Kind.PROMOTION, Action.PROMOTE, after_drift=False
        ),
        "a quiet month": first(Kind.RETRAINING, Action.KEEP),
        "a drifted month, candidate promoted": first(
            Kind.PROMOTION, Action.PROMOTE, after_drift=True
        ),
        "a drifted month, candidate rejected": first(
            Kind.PROMOTION, Action.REJECT, after_drift=True
        ),
        "a broken month, escalated and not trained on": first(Kind.RETRAINING, Action.ESCALATE),
        "a rollback": first(Kind.ROLLBACK, Action.ROLLBACK),
        "the API answering from production": first(Kind.SERVING, Action.SERVE),
    }


def _cause(entry: Entry, by_id: dict[int, Entry]) -> Entry:
    return by_id.get(entry.cause, entry) if entry.cause is not None else entry


def _show_outcomes(console: Console, loop: Loop) -> None:
    outcomes = find_outcomes(loop.journal.history(loop.use_case.name))
    table = Table(
        "shown",
        "month",
        "decision",
        title="what the journal holds",
        title_justify="left",
        title_style="bold",
    )
    for name, entry in outcomes.items():
        table.add_row(
            name,
            entry.decision.window if entry else "-",
            f"closedloop why {entry.id}" if entry else "[red]missing[/red]",
        )
    console.print(table)
    missing = [name for name, entry in outcomes.items() if entry is None]
    if missing:
        raise ClosedLoopError(
            where="demo",
            wanted="every outcome in the journal",
            got=f"no {'; no '.join(missing)}",
            then="read closedloop history; closedloop demo --forget starts afresh",
        )


def _show_next(console: Console, loop: Loop) -> None:
    drifted = [
        one for one in loop.journal.history(loop.use_case.name) if one.details.get("drift_over")
    ]
    report = (
        loop.registry.local_file(drifted[-1].details["run"], "drift_report.html")
        if drifted
        else None
    )
    # No box and no breaks: paths and addresses are clicked and copied.
    places = {
        "closedloop history": "every decision; closedloop why 3 shows one with all its checks",
        **({"drift report": str(report)} if report else {}),
        "closedloop up": "MLflow, Prefect with its schedules, and the API, at:",
        "  MLflow": f"{loop.mlflow_ui}/#/experiments?workflowType=machine_learning",
        "  Prefect": f"http://{loop.settings.host}:{loop.settings.prefect_port}",
        "  API": f"http://{loop.settings.host}:{loop.settings.port}/docs",
        "your own table": "closedloop init TABLE --target COLUMN",
    }
    console.print("where to look next", style="bold")
    for name, place in places.items():
        console.print(f"{name:20}{place}", highlight=False, soft_wrap=True, markup=False)
