"""`closedloop migrate`: a use case moves from the stores that the settings name to those of a
team."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.cli.predict import show_progress
from closedloop.errors import UseCaseError
from closedloop.operations.moving.stores import Holdings, Migration, migrate, opened_target
from closedloop.registry.mlflow_client import without_password
from closedloop.settings import Settings
from closedloop.turn.open import open_loop

if TYPE_CHECKING:
    from rich.console import Console


def migrate_use_case(
    progress: Console,
    use_case: Path | None,
    database: str | None,
    mlflow: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> tuple[str, bool]:
    """Move it; returns what is to be printed, and whether both sides are the same now. Raises what
    `migrate` raises."""
    with progress.status("reading the use case ..."):
        settings = Settings()
        database = _named(
            "--to-database", database or settings.to_database_url, "CLOSEDLOOP_TO_DATABASE_URL"
        )
        mlflow = _named("--to-mlflow", mlflow or settings.to_mlflow_url, "CLOSEDLOOP_TO_MLFLOW_URL")
        loop = open_loop(use_case, settings=settings)
    with opened_target(loop, database, mlflow) as target:
        moved = migrate(loop, target, lambda title: show_progress(progress, title), dry_run=dry_run)
        variables = {
            "CLOSEDLOOP_DATABASE_URL": target.engine.url.render_as_string(hide_password=True),
            "MLFLOW_TRACKING_URI": without_password(mlflow),
        }
    if as_json:
        return json.dumps(
            {"dry_run": dry_run, **describe_migration(moved), "next": variables}, indent=2
        ), moved.same
    return "\n".join(tell_migration(moved, variables, dry_run=dry_run)), moved.same


def describe_migration(moved: Migration) -> dict[str, Any]:
    """What `closedloop migrate --json` prints of it."""
    return {
        "found": asdict(moved.found),
        "missing": asdict(moved.missing),
        "changes": moved.changes,
        "nothing_to_do": moved.complete,
        "decision_ids_higher_by": moved.shift,
        "compared": [asdict(one) for one in moved.compared],
        "same": moved.same,
    }


def tell_migration(moved: Migration, variables: dict[str, str], *, dry_run: bool) -> list[str]:
    """The same for people, a sentence each."""
    lines = [f"found here: {_tell(moved.found)}"]
    if moved.complete:
        lines.append("nothing to do: all of it is there already")
    else:
        changes = (
            f", and {moved.changes} changed outcomes, tags or aliases" if moved.changes else ""
        )
        lines.append(f"{'to copy' if dry_run else 'copied'}: {_tell(moved.missing)}{changes}")
    if moved.shift:
        lines.append(
            f"another use case has some of the ids there: these decisions have ids that are {moved.shift} higher"
        )
    if dry_run:
        return (
            lines
            if moved.complete
            else [*lines, "nothing was written: leave --dry-run out to copy it"]
        )
    lines += [
        f"{one.what}: {one.there}; {'the same on both sides' if one.same else f'but {one.here} here'}"
        for one in moved.compared
    ]
    if not moved.same:
        return [
            *lines,
            "both sides differ: something was written meanwhile; stop the service that records here, and migrate again",
        ]
    return [
        *lines,
        "next, wherever it runs:",
        *(f"  {name}={value}" for name, value in variables.items()),
    ]


def _named(option: str, given: str | None, variable: str) -> str:
    if given:
        return given
    raise UseCaseError(
        where=option, wanted="an address to move to", got="none", then=f"give it, or set {variable}"
    )


def _tell(held: Holdings) -> str:
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in vars(held).items())
