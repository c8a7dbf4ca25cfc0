"""A use case on two sides of a migration: moving it, and comparing what is there."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from closedloop.cli.app import main
from closedloop.operations.moving.registry_copy import RegistryCopy
from closedloop.operations.moving.stores import Migration, migrate, open_destination
from closedloop.records.store import Records
from closedloop.registry.registry import Registry
from closedloop.settings import Settings
from tests.e2e.small_loop import Place, live_a_little
from tests.flows.steps import Steps
from tests.postgres import Cluster, postgres  # noqa: F401  # noqa: F401
from tests.team_stack import TeamMlflow, starting_mlflow  # noqa: F401  # noqa: F401


@dataclass(frozen=True)
class Sides:
    """The same use case where it was and where it went."""

    here: Place
    there: Place
    team: TeamMlflow


def move(sides: Sides, *, dry_run: bool = False) -> Migration:
    loop, to = sides.here.open(), sides.there.settings
    with open_destination(loop, str(to.database_url), str(to.mlflow_url)) as target:
        return migrate(
            loop, target, lambda _title: nullcontext(lambda _done, _size: None), dry_run=dry_run
        )


def move_and_die(sides: Sides, before: str, let_through: int) -> None:
    """In a child process: migrate, and die by SIGKILL before such a call, once it was let through
    so many times."""
    os.environ.update(sides.team.login)
    steps = Steps(let_through)
    from mlflow import MlflowClient

    if before.startswith("INSERT"):
        event.listen(
            Engine,
            "before_cursor_execute",
            lambda *given: steps.reach(before) if given[2].startswith(before) else None,
        )
    else:
        owners = {"append": Records, "_upload": RegistryCopy}
        steps.watch(owners.get(before, MlflowClient), before)
    move(sides)


def snapshot(home: Path) -> dict[str, str]:
    """Name -> digest of everything under a home: of a database, what is in it."""
    found = {}
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        if path.suffix == ".db":
            with closing(sqlite3.connect(path)) as connection:
                found[path.name] = hashlib.sha256(
                    "\n".join(connection.iterdump()).encode()
                ).hexdigest()
        elif path.suffix not in (".lock", ".db-wal", ".db-shm"):
            found[str(path.relative_to(home))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def runs_of(registry: Registry) -> dict[str, tuple[str, dict[str, Any]]]:
    """Id of the original -> id, and all that is to be the same."""
    from mlflow.artifacts import download_artifacts
    from mlflow.entities import ViewType

    client, found = registry._client, {}
    for one_run in client.search_runs([registry._experiment()], run_view_type=ViewType.ALL):
        info, data, tags = one_run.info, one_run.data, dict(one_run.data.tags)
        origin = tags.pop("closedloop.migrated_from", info.run_id)
        tags.pop("closedloop.migrated", None)
        folder = Path(
            download_artifacts(artifact_uri=info.artifact_uri, tracking_uri=registry.tracking_uri)
        )
        histories = [
            [
                (metric.key, metric.value, metric.step, metric.timestamp)
                for metric in client.get_metric_history(info.run_id, name)
            ]
            for name in sorted(data.metrics)
        ]
        found[origin] = (
            info.run_id,
            {
                "name": info.run_name,
                "began": info.start_time,
                "ended": info.end_time,
                "status": info.status,
                "stage": info.lifecycle_stage,
                "metrics": histories,
                "parameters": data.params,
                "tags": tags,
                "inputs": [
                    (used.dataset.to_dictionary(), [(tag.key, tag.value) for tag in used.tags])
                    for used in one_run.inputs.dataset_inputs
                ],
                "files": {
                    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in folder.rglob("*")
                    if path.is_file()
                },
            },
        )
    return found


@pytest.fixture(scope="module")
def sides(
    starting_mlflow: Callable[[], TeamMlflow],
    postgres: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sides]:
    """A loop that has turned here, and an empty stack there that the client may log in to."""
    folder, before = tmp_path_factory.mktemp("sides"), dict(os.environ)
    here = live_a_little(folder)
    team = starting_mlflow()
    os.environ.update(team.login)
    settings = Settings(
        home=folder / "elsewhere",
        data=None,
        database_url=postgres.make_database(),
        mlflow_url=team.uri,
    )
    yield Sides(here, Place(settings, here.path), team)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def moved(sides: Sides) -> Sides:
    """Both sides after the migration; whatever was done before is finished, and that is all."""
    move(sides)
    return sides


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run a command of the command line on one side; its JSON, or its exit code and what it
    said."""

    def run_on(place: Place, *words: str, **variables: str) -> Any:
        to = place.settings
        for name, value in {
            "CLOSEDLOOP_HOME": str(to.home),
            "CLOSEDLOOP_DATABASE_URL": to.database_url or "",
            "MLFLOW_TRACKING_URI": to.mlflow_url or "",
            **variables,
        }.items():
            monkeypatch.setenv(name, value)
        code = main([*words, "--use-case", str(place.path)], os.environ)
        said = capsys.readouterr()
        return (
            json.loads(said.out) if "--json" in words and code == 0 else (code, said.out + said.err)
        )

    return run_on
