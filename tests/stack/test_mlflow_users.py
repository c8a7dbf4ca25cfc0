"""What each of the stack's users of MLflow may do, asked of a real server with a login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient
from requests import HTTPError

from closedloop.registry.registry import Registry
from tests.contracts.backends import folder, log
from tests.stack.test_databases_job import load
from tests.team_stack import TeamMlflow, starting_mlflow

__all__ = ["folder", "starting_mlflow"]
pytestmark = pytest.mark.slow
NAME, FACTS = "shop", {"val_auc": "0.75"}
Be = Callable[[str], Registry]


@pytest.fixture(scope="module")
def be(
    starting_mlflow: Callable[[], TeamMlflow], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Be]:
    """`be("trainer")` is the registry as that user reaches it, from then on."""
    team, home = starting_mlflow(), tmp_path_factory.mktemp("client")
    job = load("mlflow_users")
    with pytest.MonkeyPatch.context() as patch:
        for name in job.GRANTS:
            patch.setenv(f"MLFLOW_{name.upper()}_PASSWORD", f"{name}-password-of-the-test")
        job.set_users(team.users)
        job.set_users(team.users)

        def become(name: str) -> Registry:
            patch.setenv("MLFLOW_TRACKING_USERNAME", name)
            patch.setenv("MLFLOW_TRACKING_PASSWORD", f"{name}-password-of-the-test")
            return Registry(NAME, team.uri, artifacts=home / "files", downloads=home / "bundles")

        yield become


@pytest.fixture(scope="module")
def run(be: Be, folder: Path) -> str:
    """The run of version 2, which is in production instead of version 1; 3 was rejected. All of it
    is the trainer's work."""
    registry = be("trainer")
    registry.register("first", log(registry, folder, "first"), FACTS)
    registry.promote(1, instead_of=None, reason="the first model")
    run = log(registry, folder, "second")
    registry.register("second", run, FACTS)
    registry.promote(2, instead_of=1, reason="better")
    registry.reject(registry.register("third", run, FACTS), reason="worse")
    return run


def changes(registry: Registry, run: str) -> dict[str, Callable[[], Any]]:
    """What adds to a use case or changes it, by name."""
    client, info = _client(registry), _client(registry).get_run(run).info
    files = f"{info.artifact_uri}/model"
    return {
        "log a run": lambda: client.create_run(info.experiment_id),
        "tag a run": lambda: client.set_tag(run, "tried", "yes"),
        "write a file": lambda: client.log_text(run, "text", "more.txt"),
        "tag a version": lambda: client.set_model_version_tag(NAME, "1", "tried", "yes"),
        "register": lambda: client.create_model_version(NAME, files, run_id=run),
        "move production": lambda: client.set_registered_model_alias(NAME, "production", "2"),
    }


def deletions(registry: Registry, run: str) -> dict[str, Callable[[], Any]]:
    """What deletes a part of a use case, the smallest first."""
    client = _client(registry)
    found = client.get_run(run)
    return {
        "a file": lambda: registry._delete(found, "evidence.json"),
        "a run": lambda: client.delete_run(run),
        "a version": lambda: client.delete_model_version(NAME, "3"),
        "the model": lambda: client.delete_registered_model(NAME),
        "the experiment": lambda: client.delete_experiment(found.info.experiment_id),
    }


def office(registry: Registry, name: str) -> dict[str, Callable[[], Any]]:
    """What only an administrator of the server may do."""
    server = AuthServiceClient(registry.tracking_uri)
    return {
        "make a user": lambda: server.create_user("eve", "password-of-eve"),
        "take a login": lambda: server.update_user_password("admin", "password-of-eve"),
        "rise": lambda: server.update_user_admin(name, True),
    }


def additions(registry: Registry) -> dict[str, Callable[[], Any]]:
    """What takes a new name."""
    client = _client(registry)
    return {
        "an experiment": lambda: client.create_experiment("another"),
        "a model": lambda: client.create_registered_model("another"),
    }


def refused(asked: dict[str, Callable[[], Any]]) -> list[str]:
    """The names of what the server forbids; everything is asked."""
    names = []
    for name, ask in asked.items():
        try:
            ask()
        except (MlflowException, HTTPError) as error:
            if "403" not in str(error) and "Permission denied" not in str(error):
                raise
            names.append(name)
    return names


def _client(registry: Registry) -> MlflowClient:
    return MlflowClient(registry.tracking_uri, registry.tracking_uri)


def test_the_reader_looks_and_changes_nothing(be: Be, run: str) -> None:
    """The API's user reads what is in production; each change and deletion is refused, and so is
    a new name, which it would own."""
    registry = be("reader")
    assert registry.production() == 2
    assert registry.read_run_file(run, "evidence.json") == "{}"
    assert [found.run_id for found in registry.versions()] != []
    asked = {**changes(registry, run), **deletions(registry, run), **additions(registry)}
    assert refused(asked | office(registry, "reader")) == [*asked, *office(registry, "reader")]


def test_the_trainer_adds_and_deletes_nothing(be: Be, run: str) -> None:
    """It trained and promoted before; what is there it cannot delete, although it made all of
    it."""
    registry = be("trainer")
    assert refused(changes(registry, run) | additions(registry)) == []
    asked = {**deletions(registry, run), **office(registry, "trainer")}
    assert refused(asked) == list(asked)


def test_the_promoter_goes_back_and_prunes_and_is_no_administrator(be: Be, run: str) -> None:
    """The worker that watches keeps the use case that another user made: it rolls back, drops old
    files and may delete all of it; it cannot make users or take a login."""
    registry = be("promoter")
    assert refused(changes(registry, run)) == []
    assert registry.roll_back(1, instead_of=2, reason="worse on new labels")
    assert (registry.production(), registry.previous()) == (1, None)
    registry.prune(2)
    asked = office(registry, "promoter")
    assert refused(asked) == list(asked)
    assert refused(deletions(registry, run)) == []
