"""`closedloop why`: every check behind a decision."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session
from closedloop.decisions.checks import Kind
from closedloop.errors import RegistryError, UseCaseError

if TYPE_CHECKING:
    from closedloop.metrics.importance import Importance
    from closedloop.storage.entry import Entry
    from closedloop.turn.open import Loop


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop why 7")
    def why(
        decision: Annotated[
            int,
            typer.Argument(
                help="The id of a decision, from: closedloop history", metavar="DECISION"
            ),
        ],
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Show every check behind a decision, and its outcome."""
        loop = session.open_loop(use_case)
        from closedloop.cli.decision_view import show_decision, show_importance, tell_report

        entry = loop.journal.entry(decision)
        _refuse_another(loop, entry)

        def show() -> None:
            report = tell_report(loop, entry, let_in=True)
            show_decision(session.console, entry, report=report, every_check=True)
            if (importance := _find_importance(loop, entry)) is not None:
                show_importance(session.console, importance)

        session.show(as_json, entry.as_json(), show)


def _find_importance(loop: Loop, entry: Entry) -> Importance | None:
    """The importance of the columns for the version that was judged, where it is to be had.

    Older versions have none, and an MLflow that is away says nothing.
    """
    from closedloop.turn.register import IMPORTANCE_FILE, read_importance

    decision = entry.decision
    if decision.version is None or decision.kind is not Kind.PROMOTION:
        return None
    with suppress(RegistryError, ValueError):
        return read_importance(loop.registry.read_file(decision.version, IMPORTANCE_FILE))
    return None


def _refuse_another(loop: Loop, entry: Entry) -> None:
    """Raise UseCaseError for a decision of another use case, with the --use-case to give."""
    if entry.use_case == loop.use_case.name:
        return
    path = _find_use_case(entry.use_case, loop)
    raise UseCaseError(
        where=f"decision {entry.id}",
        wanted=f"a decision of {loop.use_case.name}",
        got=f"one of {entry.use_case}",
        then=f"closedloop why {entry.id} --use-case "
        + (quote(str(path)) if path else f"LOOP_TOML, with the loop.toml of {entry.use_case}"),
    )


def _find_use_case(name: str, loop: Loop) -> Path | None:
    """The loop.toml with this name, among those of the settings and beside the one asked for.

    The journal knows names only.
    """
    from closedloop.use_case.loop_toml import load_use_case

    asked = loop.use_case.path
    beside = (*asked.parent.glob("*.toml"), *asked.parent.parent.glob("*/loop.toml"))
    for path in (*loop.settings.deployed_use_cases, *sorted(beside)):
        with suppress(UseCaseError, OSError):
            if (found := load_use_case(path)).name == name:
                return found.path
    return None
