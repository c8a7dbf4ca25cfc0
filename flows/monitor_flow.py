"""Hold the current window against the reference, decide, write the decision down, and act on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from prefect import flow, tags, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.decisions.checks import Action
from closedloop.registry.runs import HAS_FILE, REPORT
from closedloop.storage.journal import Entry
from closedloop.turn.history import History
from closedloop.turn.observe import Turn, gather_turn
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.without_labels import tell_estimates
from closedloop.turn.write_down import decide_turn
from flows.best_effort import best_effort
from flows.decision_page import carry_out_decision, describe
from flows.prefect_client.lookup import this_run
from flows.prefect_client.missed_runs import cancel_missed_runs
from flows.prefect_client.training_run import find_untrained, start_training
from flows.prefect_client.window_choices import LIST_WINDOWS, refresh_forms
from flows.train_and_compare_flow import train_and_compare_flow


@task(name="look at the window", cache_policy=NO_CACHE, persist_result=False)
def look_at_window(history: History[Loop]) -> Turn:
    """Contract, drift, realised performance: facts, no verdict."""
    return gather_turn(history)


@task(name="keep the report", cache_policy=NO_CACHE, persist_result=False)
def keep_report(history: History[Loop], turn: Turn) -> dict[str, str]:
    """Log what was measured, and Evidently's page, to MLflow; where to find them."""
    registry, drift = history.loop.registry, turn.evidence.drift
    found = {
        "drift_share": drift.drift_share if drift else None,
        **{name: turn.details.get(name) for name in ("realised_auc", "estimated_auc")},
    }
    metrics = {name: value for name, value in found.items() if value is not None}
    facts = json.dumps(asdict(turn.evidence), indent=1)
    files: dict[str, str | bytes] = {
        "evidence.json": facts,
        **({REPORT: turn.report} if turn.report else {}),
    }
    tags = {"closedloop.kind": "monitoring", **({HAS_FILE: REPORT} if turn.report else {})}
    run_id = registry.log_run(
        turn.key,
        f"monitor {history.window}",
        metrics=metrics,
        parameters={"window": history.window},
        tags=tags,
        files=files,
    )
    registry.drop_files(REPORT, keep=history.loop.settings.keep_reports)
    page = registry.run_link(run_id, history.loop.mlflow_ui)
    return {"run": run_id, "report": f"{page}/{REPORT}" if turn.report else page}


@flow(name="monitor", flow_run_name="monitor {window}", validate_parameters=False)
def monitor_flow(
    use_case: str = "", window: str = "", source: Literal["windows", "records"] = "windows"
) -> int:
    """Look at one window and do what its evidence asks for. Running it again for the same data
    finishes what was begun.

    Args:
        use_case: Path of a loop.toml. Empty: what CLOSEDLOOP_USE_CASE says.
        window: Name of the window to look at. Empty: the newest.
        source: windows: the use case's own source. records: the service's own records follow it.

    Returns:
        The id of the turn's decision in the journal.
    """
    run = this_run()
    with best_effort("cancel what was missed before"):
        cancel_missed_runs()
    loop = open_loop(use_case or None, with_records=source == "records")
    with loop.lock():
        history = History(loop, window or None)
        entry = decided_before(history) or look_and_decide(history)
        entry = carry_out_decision(history, entry)
    publish(entry)
    if run is not None and run.deployment_id is not None:
        with best_effort(LIST_WINDOWS):
            refresh_forms(loop.use_case)
    if loop.settings.train_separately:
        if (
            untrained := find_untrained(
                entry, loop.journal.history(loop.use_case.name), history.names
            )
        ) is not None:
            start_training(loop, untrained, source)
    elif entry.decision.action is Action.RETRAIN and entry.outcome is None:
        with tags(*(run.tags if run else ())):  # by which it is found when it dies with us
            train_and_compare_flow(
                use_case=use_case, window=history.window, cause=entry.id, source=source
            )
    return entry.id


def decided_before(history: History[Loop]) -> Entry | None:
    """What an earlier run decided on the same data: a rollback ends a turn, otherwise the
    retraining decision does."""
    journal = history.loop.journal
    back = journal.find(history.key("rollback"))
    return (
        back
        if back and back.decision.action is Action.ROLLBACK
        else journal.find(history.key("retraining"))
    )


def look_and_decide(history: History[Loop]) -> Entry:
    """Gather, keep the report, decide, and write down what was decided."""
    turn = look_at_window(history)
    return decide_turn(history, turn, {**turn.details, **keep_report(history, turn)})


def publish(entry: Entry) -> None:
    """Show the decision and the way to the drift report in the Prefect UI."""
    report = entry.details.get("report")
    way = f"\n[drift report of {entry.decision.window}]({report})\n" if report else ""
    told = "".join(f"\n{sentence}\n" for sentence in tell_estimates(entry.details))
    create_markdown_artifact(
        key="turn-decision",
        markdown=describe(entry) + told + way,
        description=f"{entry.decision.action.value}: {entry.decision.window}",
    )
