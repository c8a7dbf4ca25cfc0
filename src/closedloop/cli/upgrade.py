"""`closedloop upgrade`: the tables of journal and records at the newest revision."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from closedloop.cli.options import AsJson
from closedloop.cli.session import Session

OnlyCheck = Annotated[
    bool, typer.Option("--check", help="Change nothing; exit code 1 if an upgrade is needed.")
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop upgrade --check")
    def upgrade(check: OnlyCheck = False, as_json: AsJson = False) -> None:
        """Create or upgrade the database tables of journal and records for this version."""
        facts = upgrade_database(session.settings.store_url, check=check)
        session.show(
            as_json, facts, lambda: session.print_line(describe_upgrade(facts, check=check))
        )
        if check and facts["needed"]:
            raise typer.Exit(1)


def upgrade_database(store_url: str, *, check: bool) -> dict[str, Any]:
    """Upgrade, or with `check` only look; returns the --json output. `from` is None without tables.

    Raises StoreError as `upgrade_tables` does.
    """
    from closedloop.storage.engine import open_engine
    from closedloop.storage.revisions import plan_upgrade
    from closedloop.storage.upgrade import upgrade_tables

    engine = open_engine(store_url)
    try:
        found = plan_upgrade(engine) if check else upgrade_tables(engine)
    finally:
        engine.dispose()
    return {
        "database": engine.url.render_as_string(hide_password=True),
        "from": found.before,
        "to": found.after,
        "needed": found.needed,
        "copy": None if found.copy is None else str(found.copy),
    }


def describe_upgrade(facts: dict[str, Any], *, check: bool) -> str:
    """The same as a sentence."""
    database, before, after = facts["database"], facts["from"], facts["to"]
    if not facts["needed"]:
        return f"{database}: nothing to do, revision {after} is the newest"
    if before == after:  # tables from before there were revisions
        change = f"to record that it is at revision {after}"
    else:
        change = (
            f"from {'no tables' if before is None else f'revision {before}'} to revision {after}"
        )
    if check:
        return f"{database}: upgrade needed {change}: closedloop upgrade"
    copy = f"; backup of the old file: {facts['copy']}" if facts["copy"] else ""
    return f"{database}: upgraded {change}{copy}"
