"""The commands that operate an installation: serve, start, guard, upgrade, move and examine it."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli.options import (
    AsJson,
    Cron,
    DryRun,
    Host,
    OnlyCheck,
    Port,
    ToMlflow,
    ToStore,
    UseCasePath,
    Workers,
)
from closedloop.cli.output import app, console, progress, show, tell
from closedloop.cli.prune import prune_use_case


@app.command(epilog="Example: closedloop serve --port 8080 --workers 2")
def serve(
    use_case: UseCasePath = None, host: Host = None, port: Port = None, workers: Workers = None
) -> None:
    """Answer predictions over HTTP, following production without a restart."""
    from closedloop.cli.serve import prepare_service

    prepare_service(use_case, host, port, workers)()


@app.command(epilog="Example: closedloop up")
def up(use_case: UseCasePath = None, every: Cron = None) -> None:
    """MLflow UI, Prefect server with the scheduled deployments, and the API, until Ctrl-C."""
    with progress.status("reading the use case ..."):
        from closedloop.cli.up import run_everything
        from closedloop.turn.open import open_loop

        loop = open_loop(use_case)
    run_everything(console, progress, loop, every)


@app.command(epilog="Example: closedloop key add web-shop")
def key(
    action: Annotated[str, typer.Argument(help="add, list or remove.", metavar="ACTION")],
    name: Annotated[
        str | None,
        typer.Argument(help="Whose key, for add and remove.", metavar="NAME", show_default=False),
    ] = None,
) -> None:
    """Who may ask the API: add a key (shown once), list their names, or remove one; a running API
    notices."""
    from closedloop.cli.key import change_keys
    from closedloop.settings import Settings

    for line in change_keys(action, name, Settings().keys_file, progress):
        tell(line)


@app.command(epilog="Example: closedloop upgrade --check")
def upgrade(check: OnlyCheck = False, as_json: AsJson = False) -> None:
    """Bring the tables of journal and records to what this version of closedloop wants, or make
    them."""
    from closedloop.cli.upgrade import tell_upgrade, upgrade_database

    facts = upgrade_database(check=check)
    show(as_json, facts, lambda: tell(tell_upgrade(facts, check=check)))
    if check and facts["needed"]:
        raise typer.Exit(1)


@app.command(
    epilog="Example: closedloop migrate --to-database postgresql://me@db/loop --to-mlflow https://mlflow.here --dry-run"
)
def migrate(
    use_case: UseCasePath = None,
    to_database: ToStore = None,
    to_mlflow: ToMlflow = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move a use case to a team's MLflow server and database: versions, runs, decisions, answers
    and labels."""
    from closedloop.cli.migrate import migrate_use_case

    said, same = migrate_use_case(
        progress, use_case, to_database, to_mlflow, dry_run=dry_run, as_json=as_json
    )
    tell(said)
    raise typer.Exit(0 if same else 1)


prune = app.command("prune", epilog="Example: closedloop prune --keep-versions 10 --dry-run")(
    prune_use_case
)


@app.command(epilog="Example: closedloop doctor")
def doctor(use_case: UseCasePath = None, as_json: AsJson = False) -> None:
    """Find what is wrong with an installation, a use case or a loop that stopped turning."""
    with progress.status("looking at everything ..."):
        from closedloop.cli import show as cli_show
        from closedloop.cli.doctor import examine

        findings = examine(use_case)
    facts = [
        {"check": one.check, "ok": one.ok, "found": one.found, "next": one.then} for one in findings
    ]
    show(as_json, facts, lambda: cli_show.show_findings(console, findings))
    if not all(one.ok for one in findings):
        raise typer.Exit(1)
