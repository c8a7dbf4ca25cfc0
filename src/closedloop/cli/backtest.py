"""`closedloop backtest`: compare retraining policies on past data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session

POLICY_WORDS = (
    "static, always, every-K, naive, loop (yours), a TOML file with a policy table, or a policy of "
    "others: adwin, ddm, two-of-five, cara, upf, bootstrap-gate; repeatable."
)
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="P",
        help=POLICY_WORDS,
        show_default="static, always, every-2, every-4, naive, loop",
    ),
]
LabelDelay = Annotated[
    int | None,
    typer.Option(
        "--label-delay",
        min=0,
        help="How many windows later labels arrive.",
        show_default="delay_windows of loop.toml",
    ),
]
FirstWindows = Annotated[
    int,
    typer.Option("--first-windows", min=1, help="Number of windows to train the first model on."),
]
Learners = Annotated[
    list[str] | None,
    typer.Option(
        "--learner",
        help="A recipe of loop.toml, or a learner by name; repeatable.",
        show_default="the recipes of loop.toml",
    ),
]
WithFaults = Annotated[
    bool,
    typer.Option(
        "--faults", help="Also inject known data faults: does a policy promote what they damage?"
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="The folder for the page and the figures.",
        show_default="backtest/NAME under CLOSEDLOOP_HOME",
    ),
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(
        epilog="Example: closedloop backtest --policy loop --policy every-4 --label-delay 1"
    )
    def backtest(
        use_case: UseCasePath = None,
        policies: Policies = None,
        delay: LabelDelay = None,
        first: FirstWindows = 3,
        learners: Learners = None,
        faults: WithFaults = False,
        out: OutFolder = None,
        as_json: AsJson = False,
    ) -> None:
        """Replay past windows under several retraining policies; compare their cost and AUC."""
        loop = session.open_loop(use_case)
        with session.working("loading libraries ..."):
            from closedloop.backtest.figures import recommend
            from closedloop.cli.backtest_report import list_figures, replay_history, show_figures
            from closedloop.decisions.deciding_measure import MEASURES

        found, page = replay_history(
            loop,
            session.progress,
            policies,
            delay=delay,
            first=first,
            learners=learners,
            faults=faults,
            out=out,
            writing=session.users_files,
        )
        if as_json:
            for figures in list_figures(found):
                session.print_line(json.dumps(figures))
            return
        show_figures(session.console, found)
        session.print_line(f"every round as a chart: {page}")
        session.print_line(recommend(found.figures, measure=MEASURES[found.measure].gain))
