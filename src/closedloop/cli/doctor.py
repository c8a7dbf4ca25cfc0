"""`closedloop doctor`: find what is wrong."""

from __future__ import annotations

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop doctor")
    def doctor(use_case: UseCasePath = None, as_json: AsJson = False) -> None:
        """Check the installation, the use case, the journal and the registry."""
        with session.working("checking ..."):
            from closedloop.cli.examine.findings import examine, show_findings

            findings = examine(session.settings, use_case, session.environment)
        facts = [
            {
                "check": finding.check,
                "ok": finding.ok,
                "found": finding.found,
                "next": finding.then,
            }
            for finding in findings
        ]
        session.show(as_json, facts, lambda: show_findings(session.console, findings))
        if not all(finding.ok for finding in findings):
            raise typer.Exit(1)
