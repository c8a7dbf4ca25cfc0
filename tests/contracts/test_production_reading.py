"""The service reads the registry without MLflow's library: it is told the same as everybody else,
and goes on when MLflow is away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from closedloop.bundle.files import model_digest
from closedloop.cli.service import build_service
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import ModelError, RegistryError
from closedloop.registry.live import ProductionReader
from closedloop.registry.registry import Registry
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.use_case.loop_toml import parse_use_case
from tests.contracts.backends import CONTENT, Backend, add, log
from tests.team_stack import TeamMlflow, starting_mlflow  # noqa: F401  # a fixture
from tests.waiting import until


def read(backend: Backend, registry: Registry, home: Path) -> ProductionReader:
    return ProductionReader(
        registry.name, backend.uri, artifacts=backend.home / "artifacts", downloads=home
    )


def promoted(backend: Backend, folder: Path) -> Registry:
    """A registry with one version, with files, in production."""
    registry = backend.new()
    registry.register("a key", log(registry, folder), {"window": "w7"})
    registry.promote(1, instead_of=None, reason="best")
    return registry


def test_it_is_told_what_the_registry_says(backend: Backend, tmp_path: Path) -> None:
    """No model, no alias, an alias, a moved alias: the reader sees what MLflow's own client sees,
    at once."""
    registry = backend.new()
    reader = read(backend, registry, tmp_path)
    assert reader.find() is None is registry.production()
    add(registry, 2)
    assert reader.find() is None
    for number in (1, 2):
        registry.promote(number, instead_of=number - 1 or None, reason="better")
        assert reader.find() == registry.production() == number


@pytest.mark.nightly
def test_a_user_who_may_only_look_is_told_that_nothing_is_there(
    starting_mlflow: Callable[[], TeamMlflow],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Before the first version is registered, on a server with a login: no model, as an
    administrator is told, and not a server that cannot be reached. A wrong password is refused."""
    team = starting_mlflow()
    for name, value in team.login.items():
        monkeypatch.setenv(name, value)
    reader = ProductionReader("nothing", team.uri, artifacts=tmp_path, downloads=tmp_path)
    assert reader.find() is None
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a wrong password")
    with pytest.raises(
        RegistryError, match="wanted to read the alias production, got OSError: HTTP 401"
    ):
        reader.find()


def test_the_files_are_those_that_were_registered(
    backend: Backend, folder: Path, tmp_path: Path
) -> None:
    """The folder has the registered digest, over HTTP too; the window that the version was trained
    for comes with it."""
    registry = promoted(backend, folder)
    reader = read(backend, registry, tmp_path)
    assert model_digest(reader.download(1)) == model_digest(folder)
    assert reader.window(1) == "w7"
    with pytest.raises(RegistryError, match="wanted version 2, got no such version"):
        reader.download(2)


def test_where_a_version_comes_from_is_what_the_registry_says(
    backend: Backend, folder: Path, tmp_path: Path
) -> None:
    """Its tags and the run that made it, over HTTP too; a version that is not there is refused."""
    registry = promoted(backend, folder)
    reader = read(backend, registry, tmp_path)
    tags, run = reader.origin(1)
    assert run == registry.version(1).run_id
    assert tags.items() <= registry.tags(1).items()
    assert (tags["window"], tags["sha256"]) == ("w7", model_digest(folder))
    with pytest.raises(RegistryError, match="wanted version 2, got no such version"):
        reader.origin(2)


def test_files_that_were_changed_are_refused(
    backend: Backend, folder: Path, tmp_path: Path
) -> None:
    """A corrupt bundle in the store is not handed out, whatever it would answer."""
    registry = promoted(backend, folder)
    for path in backend.files.rglob("model/facts.json"):
        if registry.version(1).run_id in path.parts:
            path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(ModelError, match="wanted files with sha256"):
        read(backend, registry, tmp_path).download(1)


def test_the_last_good_version_is_there_while_mlflow_is_away(
    backend: Backend, folder: Path, tmp_path: Path
) -> None:
    """A new process without MLflow finds the version that was last in service and its files, and
    nothing else."""
    registry = promoted(backend, folder)
    reader = read(backend, registry, tmp_path)
    assert reader.last_good() is None
    fetched = reader.download(1)
    reader.remember(1)
    away = ProductionReader(
        registry.name, "http://127.0.0.1:9", artifacts=tmp_path, downloads=tmp_path
    )
    with pytest.raises(
        RegistryError, match=r"MLflow at http://127\.0\.0\.1:9: wanted to read the alias production"
    ):
        away.find()
    kept = away.open_last_good()
    assert (away.last_good(), model_digest(kept), away.window(1)) == (
        1,
        model_digest(fetched),
        "w7",
    )
    assert kept.is_relative_to(tmp_path), "the service's own copy outlives the store"
    with pytest.raises(RegistryError, match="wanted to find version 2"):
        away.download(2)


@pytest.mark.parametrize("harm", ["changed", "gone", "nonsense"])
def test_a_memory_that_does_not_hold_is_no_memory(
    server: Backend, folder: Path, tmp_path: Path, harm: str
) -> None:
    """Files that changed or went, and a note that cannot be read, are as if nothing had been
    remembered."""
    registry = promoted(server, folder)
    reader = read(server, registry, tmp_path)
    kept = reader.download(1)
    reader.remember(1)
    if harm == "changed":
        (kept / "facts.json").write_text("{}", encoding="utf-8")
    elif harm == "gone":
        shutil.rmtree(kept)
    else:
        (tmp_path / registry.name / "last_good.json").write_text("{", encoding="utf-8")
    assert reader.last_good() is None


def test_a_server_keeps_what_it_fetched_while_it_is_of_use(
    server: Backend, folder: Path, tmp_path: Path
) -> None:
    """A service that follows five promotions over HTTP ends with the files of the version that
    answers, which is the last good one, and of the one before; a rollback to that one fetches
    nothing, and one to a deleted version fetches it again."""
    registry = server.open("kept")
    for number in range(1, 6):
        registry.register(f"key {number}", log(registry, folder, f"key {number}"), {})
    use_case = parse_use_case({**CONTENT, "name": registry.name}, tmp_path / "loop.toml")
    settings = Settings(home=tmp_path, mlflow_url=server.uri, follow_seconds=0.01)
    kept = tmp_path / "serving" / registry.name

    def follow(number: int, before: int | None) -> set[int]:
        """Promote, wait until it answers and what is superfluous is gone; the versions on disk."""
        registry.promote(number, instead_of=before, reason="test")
        until(
            lambda: (
                client.get("/ready").json()["version"] == number
                and numbers() == {number, before} - {None}
            ),
            "the version that was promoted",
        )
        return numbers()

    def numbers() -> set[int]:
        return {int(path.name.partition("-")[0]) for path in kept.glob("*-*") if path.is_dir()}

    with TestClient(build_service(use_case, settings, "testserver", "here", "now")) as client:
        for number in range(1, 6):
            assert follow(number, number - 1 or None) == {number, number - 1} - {0}
        (four,) = kept.glob("4-*")
        fetched = (four / "facts.json").stat().st_ctime_ns
        assert follow(4, 5) == {4, 5}
        assert (four / "facts.json").stat().st_ctime_ns == fetched
        assert follow(1, 4) == {1, 4}
        assert read(server, registry, tmp_path / "serving").last_good() == 1


def test_a_service_says_that_an_alias_was_moved_outside_of_closedloop(
    server: Backend, folder: Path, tmp_path: Path
) -> None:
    """`/ready` tells where the registry has production and previous, and where the journal."""
    registry = promoted(server, folder)
    registry.register("another key", log(registry, folder, "another key"), {})
    use_case = parse_use_case({**CONTENT, "name": registry.name}, tmp_path / "loop.toml")
    settings = Settings(home=tmp_path, mlflow_url=server.uri, follow_seconds=0.01)
    journal = Journal(open_engine(settings.store_url))
    first = Decision(Kind.PROMOTION, Action.PROMOTE, "w7", (), 1)
    journal.carried_out(journal.write("first", registry.name, first))

    def said() -> str:
        """What a service that starts now says, once it has looked."""
        with TestClient(build_service(use_case, settings, "testserver", "here", "now")) as client:
            until(lambda: client.get("/ready").json()["moved"], "what was moved")
            return str(client.get("/ready").json()["moved"])

    registry._client.set_registered_model_alias(registry.name, "production", "2")
    told = "production points at version 2, which no decision is about, by the journal at version 1"
    assert told in said()
    registry._client.set_registered_model_alias(registry.name, "production", "1")
    registry._client.set_registered_model_alias(registry.name, "previous", "2")
    assert "previous points at version 2" in said()


def test_a_registry_that_does_not_exist_yet_has_nothing(tmp_path: Path) -> None:
    """A service may start before the first turn: nothing is in production, and asking makes no
    database."""
    reader = ProductionReader(
        "shop", f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path, downloads=tmp_path
    )
    assert reader.find() is None
    assert not (tmp_path / "mlflow.db").exists()


def test_the_service_imports_no_library_of_training() -> None:
    """Building the app, reading the registry and loading ONNX bring in neither MLflow, Evidently,
    pandas, scikit-learn nor Alembic."""
    heavy = "closedloop.cli.service, api.app, api.model.answer, closedloop.bundle.onnx_model"
    asked = f"import json, sys, {heavy}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {
        "mlflow",
        "evidently",
        "pandas",
        "sklearn",
        "scipy",
        "lightgbm",
        "duckdb",
        "prefect",
        "alembic",
    }
    assert {"fastapi", "msgspec"} <= loaded
