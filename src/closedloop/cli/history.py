"""`closedloop history`: the decisions in the journal."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, Newest, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop history --last 5")
    def history(use_case: UseCasePath = None, as_json: AsJson = False, last: Newest = None) -> None:
        """List the decisions in the journal, oldest first."""
        loop = session.open_loop(use_case)
        from closedloop.cli.decision_view import show_history
        from closedloop.turn.corrected_labels import count_corrections

        entries = loop.journal.history(loop.use_case.name)[-(last or 0) :]
        corrected = count_corrections(loop, entries)
        session.show(
            as_json,
            [
                {**entry.as_json(), "labels_corrected_since": corrected.get(entry.id, 0)}
                for entry in entries
            ],
            lambda: show_history(session.console, entries, corrected),
        )
