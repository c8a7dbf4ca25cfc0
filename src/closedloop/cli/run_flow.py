"""What `closedloop monitor` and `closedloop train` share: run one flow here, show its decisions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from closedloop.cli.decision_view import show_decision, tell_report
from closedloop.cli.finished_turn import read_turn
from closedloop.cli.session import Session
from closedloop.cli.turn_summary import show_summary
from closedloop.turn.changed_windows import tell_changed_windows
from closedloop.turn.history import History
from closedloop.turn.take_turn import refuse_older_training
from closedloop.windows.order import position


def run_flow(
    session: Session,
    prefect: Callable[[], AbstractContextManager[None]],
    name: Literal["monitor", "train"],
    use_case: Path | None,
    window: str | None,
    source: str,
    *,
    force: bool = False,
    as_json: bool,
) -> int:
    """Run the flow, and print what it found, its decision and those that followed from it.

    Returns the exit code that tells what came of it (`turn_summary.EXIT_CODES`). `prefect` opens
    what the flow runs in. `force` trains also for a window that is older than what production
    knows. Raises whatever the flow raises.
    """
    loop = session.open_loop(use_case, with_records=source == "records")
    # A wrong source or window name shows before a run begins.
    names = loop.source.windows()
    position(names, window or names[-1])
    if name == "train" and not force:
        refuse_older_training(History(loop, window))
    with prefect(), session.working(f"{name} {window or names[-1]} ..."):
        from flows.monitor_flow import monitor_flow
        from flows.train_and_compare_flow import train_and_compare_flow

        flow = monitor_flow if name == "monitor" else train_and_compare_flow
        asked = {"use_case": str(loop.use_case.path), "window": window or names[-1]}
        asked["source"] = source
        number = flow(**asked, **({"force": True} if force else {}))  # type: ignore[call-overload]
    turn = read_turn(loop, number)
    if as_json:
        session.print_json(turn.as_json())
        return turn.summary.exit_code
    show_summary(session.console, turn.summary)
    for entry in (*turn.quarantines, turn.first, *turn.following):
        show_decision(session.console, entry, report=tell_report(loop, entry))
    for sentence in turn.newly_moved:
        session.print_line(sentence)
    if loop.use_case.source.time_column is not None:
        for sentence in tell_changed_windows(History(loop)):
            session.print_line(sentence)
    return turn.summary.exit_code
