"""Watch a promotion: compare production with the version that it replaced, and go back if it is
significantly worse."""

from __future__ import annotations

from typing import Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.shown_text import as_markdown
from closedloop.storage.entry import Entry
from closedloop.turn.begin_turn import begin_turn
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.probation import Probation, gather_probation
from closedloop.turn.watch_served import watch_served
from closedloop.turn.write_down import decide_probation, write_quarantine
from flows.decision_page import carry_out_decision, describe, tell_moved
from flows.private_files import privately
from flows.telling import telling


@task(name="compare with what it replaced", cache_policy=NO_CACHE, persist_result=False)
def compare_with_previous(history: History[Loop]) -> Probation:
    """Score both versions on the newest labelled rows that are new to both; nothing is decided."""
    return gather_probation(history)


@task(name="look at its calls", cache_policy=NO_CACHE, persist_result=False)
def watch_calls(loop: Loop) -> Entry | None:
    """Go back if production fails or is far slower than before: that waits for no window."""
    return watch_served(loop)


@flow(name="probation", flow_run_name="watch {window}", validate_parameters=False)
@privately
@telling
def probation_flow(
    use_case: str = "", window: str = "", source: Literal["windows", "records"] = "windows"
) -> int:
    """Only the part of `monitor` that may roll back: no drift, no retraining.

    It decides what `monitor` would decide on the same data; the one that runs second finds the
    decision made. With nothing on probation, nothing is written down.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.
        window: Name of the window to look at. Empty: the newest.
        source: windows: the use case's own source. records: the service's records follow it.

    Returns:
        The id of the decision in the journal; 0 when nothing was on probation.
    """
    loop = open_loop(use_case or None, with_records=source == "records")
    window = History(loop, window or None).window  # before it waits: that is the one asked for
    if (back := watch_calls(loop)) is not None:
        publish(History(loop, window), back, "")
        return back.id
    with loop.lock("probation"):
        history = begin_turn(loop, window, act=carry_out_decision)
        entry = loop.journal.find(history.key("rollback"))
        seen = None if entry else compare_with_previous(history)
        if seen and seen.evidence:
            write_quarantine(history, seen.quarantine)
            entry = decide_probation(history, seen.evidence, seen.details)
        if entry:
            entry = carry_out_decision(loop, entry)
    publish(history, entry, seen.reason if seen else "")
    return entry.id if entry else 0


def publish(history: History[Loop], entry: Entry | None, reason: str) -> None:
    """Show the decision in the Prefect UI, or why there was none."""
    window = history.window
    title = entry.decision.action.value if entry else "nothing on probation"
    window = as_markdown(window)
    page = describe(entry) if entry else f"# {title} ({window})\n\n{as_markdown(reason)}\n"
    create_markdown_artifact(
        key="probation-decision",
        markdown=page + tell_moved(history.loop),
        description=f"{title}: {window}",
    )
