"""`closedloop monitor` and `closedloop train`: one flow, run here, and the decisions that came of
it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from closedloop.errors import UseCaseError

if TYPE_CHECKING:
    from rich.console import Console

    from closedloop.storage.journal import Entry
    from closedloop.turn.open import Loop


def take_turn(
    progress: Console,
    what: Literal["monitor", "train"],
    path: Path | None,
    window: str | None,
    source: str,
) -> tuple[Loop, list[Entry]]:
    """Run a flow; returns the opened use case and the flow's decision, followed by those that it
    led to.

    Raises UseCaseError for an unknown `source`, and what the flow raises.
    """
    if source not in ("windows", "records"):
        raise UseCaseError(
            where="--source", wanted="windows or records", got=source, then="choose one of the two"
        )
    with progress.status("reading the use case ..."):
        from closedloop.cli.start import running_flows
        from closedloop.turn.open import open_loop
        from closedloop.windows.order import position

        loop = open_loop(path, with_records=source == "records")
        names = (
            loop.source.windows()
        )  # a mistake in the source or the name shows before anything is started
        position(names, window or names[-1])
    with running_flows(progress), progress.status(f"{what} {window or names[-1]}: working ..."):
        from flows.monitor_flow import monitor_flow
        from flows.train_and_compare_flow import train_and_compare_flow

        flow = monitor_flow if what == "monitor" else train_and_compare_flow
        number = flow(use_case=str(loop.use_case.path), window=window or "", source=source)  # type: ignore[call-overload]
    entry = loop.journal.entry(number)
    return loop, [
        entry,
        *(one for one in loop.journal.history(loop.use_case.name) if one.cause == entry.id),
    ]
