"""Compare the current window with the reference, decide, write the decision down, and act on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from prefect import flow, tags, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.decisions.checks import Action
from closedloop.operations.alerts.look import note_turn
from closedloop.registry.runs import PRUNED_REPORT, REPORT
from closedloop.shown_text import as_markdown
from closedloop.storage.details import RunFacts
from closedloop.storage.entry import Entry
from closedloop.turn.begin_turn import begin_turn
from closedloop.turn.history import History
from closedloop.turn.kept_evidence import keep_evidence
from closedloop.turn.observe import Observation, observe_window
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.take_turn import take_turn
from closedloop.turn.watch_served import watch_served
from closedloop.turn.without_labels import tell_estimates
from flows.best_effort import best_effort
from flows.decision_page import carry_out_decision, describe, tell_moved
from flows.prefect_client.lookup import this_run
from flows.prefect_client.missed_runs import cancel_missed_runs
from flows.prefect_client.training_run import find_untrained, start_training
from flows.prefect_client.window_choices import LIST_CHOICES, refresh_forms
from flows.private_files import privately
from flows.telling import telling
from flows.train_and_compare_flow import train_and_compare_flow


@task(name="look at the window", cache_policy=NO_CACHE, persist_result=False)
def look_at_window(history: History[Loop]) -> Observation:
    """Measure contract, drift and realised AUC; nothing is decided."""
    return observe_window(history)


@task(name="keep the report", cache_policy=NO_CACHE, persist_result=False)
def keep_report(history: History[Loop], seen: Observation) -> RunFacts:
    """Log what was measured, and Evidently's page, to MLflow; returns where they are."""
    kept, flow_run = keep_evidence(history, seen), this_run()
    return kept if flow_run is None else replace(kept, flow_run=str(flow_run.id))


@flow(name="monitor", flow_run_name="monitor {window}", validate_parameters=False)
@privately
@telling
def monitor_flow(
    use_case: str = "", window: str = "", source: Literal["windows", "records"] = "windows"
) -> int:
    """Look at one window, decide, and act.

    Run again for the same data, it finishes what was started.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.
        window: Name of the window to look at. Empty: the newest.
        source: windows: the use case's own source. records: the service's records follow it.

    Returns:
        The id of the turn's decision in the journal.
    """
    run = this_run()
    with best_effort("cancel what was missed before"):
        cancel_missed_runs()
    loop = open_loop(use_case or None, with_records=source == "records")
    window = History(loop, window or None).window  # before it waits: that is the one asked for
    if (back := watch_served(loop)) is not None:
        publish(loop, back)
        return back.id
    with loop.lock("monitor"):
        history = begin_turn(loop, window, act=carry_out_decision)
        entry = take_turn(
            history, observe=look_at_window, keep_report=keep_report, act=carry_out_decision
        )
    with best_effort("note that a turn ended"):
        note_turn(loop)
    publish(loop, entry)
    if run is not None and run.deployment_id is not None:
        with best_effort(LIST_CHOICES):
            refresh_forms(loop.use_case)
    if loop.settings.train_separately:
        if (
            untrained := find_untrained(
                entry, loop.journal.history(loop.use_case.name), history.names
            )
        ) is not None:
            start_training(loop, untrained, source)
    elif entry.decision.action is Action.RETRAIN and entry.outcome is None:
        with tags(*(run.tags if run else ())):  # the run is found by them if it dies with this one
            train_and_compare_flow(
                use_case=use_case, window=history.window, cause=entry.id, source=source
            )
    return entry.id


def publish(loop: Loop, entry: Entry) -> None:
    """Show the decision and the link to what was measured in the Prefect UI."""
    run = entry.turn.run
    report = run.report if run else None
    window = as_markdown(entry.decision.window)
    name = "drift report" if REPORT in (report or "") else "evidence"
    link = f"\n[{name} of {window}]({report})\n" if report else ""
    # A turn that is repeated shows what it decided the first time.
    with best_effort("look for the drift report"):
        if report and run and run.run and loop.registry.is_pruned(run.run):
            link = f"\n{PRUNED_REPORT}\n"
    told = (*entry.turn.notes, *tell_estimates(entry.turn))
    said = "".join(f"\n{as_markdown(sentence)}\n" for sentence in told)
    create_markdown_artifact(
        key="turn-decision",
        markdown=describe(entry)
        + said
        + link
        + tell_moved(loop, entry.decision.window, entry.turn.notes),
        description=f"{entry.decision.action.value}: {window}",
    )
