"""`closedloop upgrade`: the tables of journal and records, brought to the newest revision."""

from __future__ import annotations

from typing import Any

from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import plan_upgrade
from closedloop.storage.upgrade import upgrade_tables


def upgrade_database(*, check: bool) -> dict[str, Any]:
    """Do it or, with `check`, only look: what `closedloop upgrade --json` prints. `from` is None
    where there are no tables yet.

    Raises StoreError as `upgrade_tables` does.
    """
    engine = open_engine(Settings().store_url)
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


def tell_upgrade(facts: dict[str, Any], *, check: bool) -> str:
    """The same for people."""
    if not facts["needed"]:
        return f"{facts['database']}: nothing to do, revision {facts['to']} is the newest"
    way = f"from {'no tables' if facts['from'] is None else 'revision ' + facts['from']} to revision {facts['to']}"
    if facts["from"] == facts["to"]:
        way = f"to note that it is at revision {facts['to']}"  # tables from before there were revisions
    if check:
        return f"{facts['database']}: an upgrade is due, {way}: closedloop upgrade"
    return f"{facts['database']}: upgraded {way}" + (
        f"; the file as it was: {facts['copy']}" if facts["copy"] else ""
    )
