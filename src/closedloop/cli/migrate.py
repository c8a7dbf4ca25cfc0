"""`closedloop migrate`: move a use case from local stores to those of a team."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closedloop.cli.options import AsJson, DryRun, UseCasePath
from closedloop.cli.progress_bar import show_progress
from closedloop.cli.session import Session
from closedloop.errors import UseCaseError

if TYPE_CHECKING:
    from closedloop.operations.moving.stores import Holdings, Migration

ToDatabase = Annotated[
    str | None,
    typer.Option(
        "--to-database",
        metavar="URL",
        help="The database to copy to (SQLAlchemy URL).",
        show_default="CLOSEDLOOP_TO_DATABASE_URL",
    ),
]
ToMlflow = Annotated[
    str | None,
    typer.Option(
        "--to-mlflow",
        metavar="URL",
        help="The MLflow server to copy to.",
        show_default="CLOSEDLOOP_TO_MLFLOW_URL",
    ),
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(
        epilog="Example: closedloop migrate --to-database postgresql://me@db/loop "
        "--to-mlflow https://mlflow.here --dry-run"
    )
    def migrate(
        use_case: UseCasePath = None,
        to_database: ToDatabase = None,
        to_mlflow: ToMlflow = None,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        """Copy a use case to a team's MLflow and database: versions, runs, decisions, records."""
        settings = session.settings
        database = _required(
            "--to-database", to_database or settings.to_database_url, "CLOSEDLOOP_TO_DATABASE_URL"
        )
        mlflow = _required(
            "--to-mlflow", to_mlflow or settings.to_mlflow_url, "CLOSEDLOOP_TO_MLFLOW_URL"
        )
        loop = session.open_loop(use_case)
        from closedloop.operations.moving import stores
        from closedloop.registry.mlflow_client import without_password

        with stores.opened_target(loop, database, mlflow) as target:
            moved = stores.migrate(
                loop,
                target,
                lambda title: show_progress(session.progress, title),
                dry_run=dry_run,
            )
            variables = {
                "CLOSEDLOOP_DATABASE_URL": target.engine.url.render_as_string(hide_password=True),
                "MLFLOW_TRACKING_URI": without_password(mlflow),
            }
        lines = describe_migration(moved, variables, dry_run=dry_run)
        session.show(
            as_json,
            {"dry_run": dry_run, **list_facts(moved), "next": variables},
            lambda: session.print_line("\n".join(lines)),
        )
        raise typer.Exit(0 if moved.same else 1)


def list_facts(moved: Migration) -> dict[str, Any]:
    """The output of `closedloop migrate --json` about a migration."""
    return {
        "found": asdict(moved.found),
        "missing": asdict(moved.missing),
        "changes": moved.changes,
        "nothing_to_do": moved.complete,
        "decision_ids_higher_by": moved.shift,
        "compared": [asdict(comparison) for comparison in moved.compared],
        "same": moved.same,
    }


def describe_migration(moved: Migration, variables: dict[str, str], *, dry_run: bool) -> list[str]:
    """The same for people, a line each."""
    lines = [f"found here: {_count(moved.found)}"]
    if moved.complete:
        lines.append("nothing to do: the target has everything")
    else:
        changes = (
            f", and {moved.changes} changed outcomes, tags or aliases" if moved.changes else ""
        )
        lines.append(f"{'to copy' if dry_run else 'copied'}: {_count(moved.missing)}{changes}")
    if moved.shift:
        lines.append(
            "another use case uses some of the ids there: new decisions get ids "
            f"{moved.shift} higher"
        )
    if dry_run:
        return lines if moved.complete else [*lines, "dry run: nothing was written"]
    for comparison in moved.compared:
        verdict = "same on both sides" if comparison.same else f"but {comparison.here} here"
        lines.append(f"{comparison.what}: {comparison.there}; {verdict}")
    if not moved.same:
        return [
            *lines,
            "both sides differ because something was written meanwhile: stop the API that "
            "records here, and migrate again",
        ]
    return [
        *lines,
        "next, set these wherever closedloop runs:",
        *(f"  {name}={value}" for name, value in variables.items()),
    ]


def _required(option: str, given: str | None, variable: str) -> str:
    if given:
        return given
    raise UseCaseError(
        where=option, wanted="an address to copy to", got="none", then=f"add it, or set {variable}"
    )


def _count(held: Holdings) -> str:
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in vars(held).items())
