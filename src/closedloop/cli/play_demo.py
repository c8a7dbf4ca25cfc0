"""The demo: seven months of a subscription business. The months are planned, the decisions are
not."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Sequence
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from closedloop.bundle.skops_model import load_libraries
from closedloop.cli.demo_view import show_answers, show_month, show_next, show_outcomes
from closedloop.cli.service import serving
from closedloop.cli.session import Session
from closedloop.decisions.checks import Action, Kind, Outcome
from closedloop.decisions.retraining import DRIFT_OVER
from closedloop.errors import ClosedLoopError, StoreError
from closedloop.metrics.evidently_report import load_evidently
from closedloop.settings import DEFAULT_USE_CASE
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop, open_loop
from closedloop.windows.synthetic import generate_windows, write_generated

MONTHS = 7


def play_demo(session: Session) -> None:
    """Generate the months, take one turn a month, ask the API, and say where to look next.

    Raises ClosedLoopError when an outcome that the demo promises did not happen.
    """
    console, loop = session.console, _open_demo(session)
    home = loop.settings.home_folder
    session.print_line(f"{MONTHS} months of a subscription business: who will cancel?")
    session.print_line(f"use case {DEFAULT_USE_CASE}, everything kept under {home}")
    from flows.deployment.embedded_server import embedded_prefect, using

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with embedded_prefect(home) as prefect, progress:
        task = progress.add_task("writing the months", total=MONTHS + 2)
        with session.users_files():
            write_generated(loop.use_case, None, generate_windows("streamflow", MONTHS))
        progress.update(task, advance=1, description="starting MLflow and Prefect")
        loop.registry.start()
        load_evidently()
        load_libraries()
        from flows.monitor_flow import monitor_flow

        with using(prefect):
            for month in loop.source.windows()[:MONTHS]:
                progress.update(task, description=f"{month}: monitoring")
                monitor_flow(use_case=str(loop.use_case.path), window=month)
                show_month(console, month, loop)
                progress.advance(task)
        progress.update(task, description="asking the API")
        show_answers(console, _ask_api(loop))
        progress.advance(task)
    outcomes = find_outcomes(loop.journal.history(loop.use_case.name))
    show_outcomes(console, outcomes)
    if missing := [name for name, entry in outcomes.items() if entry is None]:
        raise ClosedLoopError(
            where="demo",
            wanted="every outcome in the journal",
            got=f"no {'; no '.join(missing)}",
            then="see closedloop history; to start again: closedloop demo --forget",
        )
    show_next(console, loop)


def _open_demo(session: Session) -> Loop:
    # The demo brings its own data, whatever CLOSEDLOOP_DATA says.
    settings = session.settings.model_copy(update={"data": None})
    return open_loop(DEFAULT_USE_CASE, settings=settings)


def forget_demo(session: Session) -> None:
    """Delete the demo's data, models and journal; refuses when another use case is kept there."""
    loop = _open_demo(session)
    home, generated = (
        loop.settings.home_folder,
        loop.use_case.path.parent / loop.use_case.source.root,
    )
    if loop.settings.database_url or loop.settings.mlflow_url:
        raise StoreError(
            where="demo",
            wanted="stores under CLOSEDLOOP_HOME",
            got="a database or MLflow server set in the environment",
            then="unset CLOSEDLOOP_DATABASE_URL and MLFLOW_TRACKING_URI first",
        )
    if home.exists():
        others = sorted(set(loop.journal.use_cases()) - {loop.use_case.name})
        if others:
            raise StoreError(
                where=str(home),
                wanted="nothing but the demo",
                got=f"decisions about {', '.join(others)}",
                then="keep the folder, or delete it yourself; next time give each its own "
                "CLOSEDLOOP_HOME",
            )
    loop.engine.dispose()
    for folder in (home, generated):
        if folder.exists():
            shutil.rmtree(folder)
    session.print_line(f"deleted {home} and {generated}")


def _ask_api(loop: Loop) -> dict[str, Any]:
    """Serve on a free port and ask about three customers of the newest month."""
    window = loop.source.read(loop.source.windows()[MONTHS - 1])
    rows = json.loads(window[list(loop.use_case.columns)].head(3).to_json(orient="records"))
    with serving(loop.use_case, loop.settings, "127.0.0.1", 0) as address:
        request = urllib.request.Request(
            f"{address}/predict",
            json.dumps({"rows": rows}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
    return answer


def find_outcomes(entries: Sequence[Entry]) -> dict[str, Entry | None]:
    """The outcomes that the demo promises, each with the decision that shows it, if any."""
    by_id = {entry.id: entry for entry in entries}

    def first(kind: Kind, action: Action, *, after_drift: bool | None = None) -> Entry | None:
        for entry in entries:
            drifted = any(
                check.claim == DRIFT_OVER and check.outcome is Outcome.HOLDS
                for check in _cause(entry, by_id).decision.checks
            )
            if (
                entry.decision.kind is kind
                and entry.decision.action is action
                and after_drift in (None, drifted)
                and entry.outcome == "done"
            ):
                return entry
        return None

    return {
        "first model trained and promoted": first(
            Kind.PROMOTION, Action.PROMOTE, after_drift=False
        ),
        "quiet month, nothing to do": first(Kind.RETRAINING, Action.KEEP),
        "drift, candidate promoted": first(Kind.PROMOTION, Action.PROMOTE, after_drift=True),
        "drift, candidate rejected": first(Kind.PROMOTION, Action.REJECT, after_drift=True),
        "broken data, escalated, not trained on": first(Kind.RETRAINING, Action.ESCALATE),
        "rollback": first(Kind.ROLLBACK, Action.ROLLBACK),
        "API answers from production": first(Kind.SERVING, Action.SERVE),
    }


def _cause(entry: Entry, by_id: dict[int, Entry]) -> Entry:
    return by_id.get(entry.cause, entry) if entry.cause is not None else entry
