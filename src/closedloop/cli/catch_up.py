"""`closedloop monitor --all`: a turn on every window that was not looked at, oldest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from closedloop.cli.decision_view import coloured
from closedloop.cli.finished_turn import FinishedTurn, read_turn
from closedloop.cli.plain_text import plain
from closedloop.cli.prefect_server import starting_prefect
from closedloop.cli.progress_bar import show_progress
from closedloop.cli.session import Session
from closedloop.cli.turn_summary import EXIT_CODES, WAITING
from closedloop.decisions.checks import Action
from closedloop.errors import ModelError, UseCaseError
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.open import Loop
from closedloop.turn.waiting_windows import find_waiting
from closedloop.views.words import brief_reason
from closedloop.windows.order import position


def refuse_window_as_well(window: str | None) -> None:
    """Raise UseCaseError when one window was asked for together with many."""
    if window is not None:
        raise UseCaseError(
            where="--window",
            wanted="one window, or many with --all or --from",
            got="both",
            then=f"drop one of the two; to begin with {window}: closedloop monitor --from {window}",
        )


@dataclass(frozen=True)
class Turn:
    """One turn as it ended, or why nothing could be fitted."""

    window: str
    finished: FinishedTurn | None = None
    failed: str = ""

    def as_json(self) -> dict[str, Any]:
        """As `monitor --json` prints the turn of one window; `failed` is there if it failed."""
        if self.finished is None:
            return {"window": self.window, "failed": self.failed}
        return self.finished.as_json()


def catch_up(
    session: Session, use_case: Path | None, start: str | None, source: str, *, as_json: bool
) -> int:
    """Run `monitor` on every window that was not looked at, from `start` on; print a line for each.

    Returns the exit code that tells what came of it (`find_exit_code`). A window for which no
    candidate can be fitted is told, and the next ones go on. Raises SourceError for an unknown
    `start`, and whatever else a turn raises, after saying where it stopped.
    """
    loop = session.open_loop(use_case, with_records=source == "records")
    refuse_disagreement(loop)  # also when no window waits for a turn
    names = loop.source.windows()
    chosen = names if start is None else names[position(names, start) :]
    with session.working("looking for windows that were not looked at ..."):
        waiting = find_waiting(loop, chosen)
    with ExitStack() as stack:
        if waiting:
            stack.enter_context(stack.enter_context(starting_prefect(session))())

        def monitor(window: str) -> int:
            from flows.monitor_flow import monitor_flow

            asked = {"use_case": str(loop.use_case.path), "window": window, "source": source}
            return int(monitor_flow(**asked))  # type: ignore[call-overload]

        turns = take_turns(session, loop, waiting, monitor, as_json=as_json, chosen=chosen)
    fail_if_any_failed(turns)
    return find_exit_code(turns)


def find_exit_code(turns: Sequence[Turn]) -> int:
    """The code of the newest window, unless one of them calls or asks a person; 0 without any."""
    codes = [turn.finished.summary.exit_code for turn in turns if turn.finished is not None]
    calls = [EXIT_CODES[result] for result in ("escalated", WAITING)]
    return next((code for code in calls if code in codes), codes[-1] if codes else 0)


def fail_if_any_failed(turns: Sequence[Turn]) -> None:
    """End with the exit code of an error if a turn failed and was told."""
    if any(turn.failed for turn in turns):
        raise typer.Exit(ModelError.exit_code)


def take_turns(
    session: Session,
    loop: Loop,
    waiting: Sequence[str],
    monitor: Callable[[str], int],
    *,
    chosen: Sequence[str],
    as_json: bool,
) -> Sequence[Turn]:
    """Call `monitor`, which returns the id of its decision, for each window of `waiting`, in order.

    `chosen` are the windows that were asked for. Prints a line a window and a summary, or one JSON
    object, also when a turn raises: then it says on stderr where to go on.
    """
    turns: list[Turn] = []
    # The bar and the lines above it have to be written by one console where both are seen.
    bar = session.console if session.console.is_terminal and not as_json else session.progress
    try:
        with show_progress(bar, "monitor") as on_progress:
            for window in waiting:
                on_progress(len(turns), len(waiting))
                turns.append(_take_turn(loop, window, monitor))
                if not as_json:
                    _show_turn(session, turns[-1], width=max(map(len, waiting)))
    except BaseException:
        for window in waiting[len(turns) :][:1]:
            session.warn(
                f"stopped at {window} after {_windows(len(turns))} of {len(waiting)}: "
                "the same command goes on there"
            )
        raise
    finally:
        before = [window for window in chosen if window not in waiting]
        if as_json:
            left = list(waiting[len(turns) :])
            looked = [turn.as_json() for turn in turns]
            session.print_json({"turns": looked, "looked_at_before": before, "left": left})
        else:
            session.print_line(_summary(turns, len(before)))
    return turns


def _take_turn(loop: Loop, window: str, monitor: Callable[[str], int]) -> Turn:
    try:
        return Turn(window, read_turn(loop, monitor(window)))
    except ModelError as error:  # later windows may have what this one lacks
        return Turn(window, failed=str(error))


def _show_turn(session: Session, turn: Turn, *, width: int) -> None:
    if turn.finished is None:
        what, why = "[red]failed[/red]", turn.failed
    else:
        entries = (turn.finished.first, *turn.finished.following)
        last = entries[-1].decision
        what = ", ".join(coloured(entry.decision.action.value) for entry in entries)
        if last.action in (Action.PROMOTE, Action.ROLLBACK, Action.WAIT):
            what += f" version {last.version}"
        why = "; ".join((brief_reason(last), *turn.finished.moved))
    line = f"{plain(turn.window.ljust(width))}  {what}: {plain(why)}"
    session.console.print(line, soft_wrap=True, highlight=False)


def _summary(turns: Sequence[Turn], before: int) -> str:
    counts = Counter(
        turn.finished.first.decision.action.value if turn.finished else "failed" for turn in turns
    )
    counted = ", ".join(f"{count} {action}" for action, count in counts.items())
    earlier = f"; {_windows(before)} looked at before" if before else ""
    return f"looked at {_windows(len(turns))}" + (f": {counted}" if counted else "") + earlier


def _windows(count: int) -> str:
    return f"{count} window{'' if count == 1 else 's'}"
