"""`closedloop stage`: one stage of dvc.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli.options import UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop stage prepare var/dvc/iris --use-case data/iris")
    def stage(
        name: Annotated[
            str, typer.Argument(help="prepare, train, evaluate or deploy.", metavar="STAGE")
        ],
        folder: Annotated[
            Path,
            typer.Argument(help="Where the stages leave files for one another.", metavar="DIR"),
        ],
        use_case: UseCasePath = None,
    ) -> None:
        """Run one stage of dvc.yaml, as DVC does; only deploy registers and decides."""
        loop = session.open_loop(use_case)
        with session.working(f"{name} {loop.use_case.name} ..."):
            from closedloop.cli.decision_view import show_decision
            from closedloop.stages.run_stage import STAGES

            if name not in STAGES:
                raise UseCaseError(
                    where="closedloop stage",
                    wanted=", ".join(STAGES),
                    got=name,
                    then="choose one of them",
                )
            entry = STAGES[name](loop, folder)
        if entry is not None:
            show_decision(session.console, entry)
