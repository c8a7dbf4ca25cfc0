"""An MLflow that names places of ours, or pages without end: nothing is done there, and it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from closedloop.errors import RegistryError
from closedloop.registry.artifacts import check_place
from closedloop.registry.mlflow_client import all_pages
from closedloop.registry.registry import Registry
from closedloop.registry.runs import DIGEST
from tests.mlflow_in_memory import MemoryClient
from tests.unit.registry.test_hostile_registry import tree

SERVER = "http://mlflow.example:5000"


@pytest.mark.parametrize(
    ("uri", "allowed", "allowed_in_a_database"),
    [
        ("mlflow-artifacts:/1/run/artifacts", True, False),
        ("mlflow-artifacts://mlflow.example:5000/1/run", True, False),
        ("mlflow-artifacts://elsewhere:5000/1/run", False, False),
        ("mlflow-artifacts:/1/../2", False, False),
        ("mlflow-artifacts:/1/%2e%2e/2", False, False),
        ("mlflow-artifacts:/1/%252e%252e/2", False, False),
        ("s3://bucket/a", True, True),
        ("s3://bucket/a/../b", False, False),
        ("s3://bucket/a\0b", False, False),
        ("s3://bucket/a\\b", False, False),
        ("s3://bucket/a?versionId=1", False, False),
        ("gs://bucket/a", True, True),
        ("file://HOME/artifacts/shop/run", True, True),
        ("HOME/artifacts/shop/run", True, True),
        ("HOME/artifacts/../../etc", False, False),
        ("file:///etc", False, True),
        ("/etc", False, True),
        ("etc", False, True),
        ("HOME/artifacts/link", False, True),
        ("file://elsewhere/etc", False, False),
        ("http://169.254.169.254/latest/meta-data", False, False),
        ("https://mlflow.example:5000/a", False, False),
        ("ftp://elsewhere/a", False, False),
        ("sftp://elsewhere/a", False, False),
        ("dbfs:/a", False, False),
        ("runs:/abc/model", False, False),
        ("models:/shop/1", False, False),
        ("http://[", False, False),
        ("s3://bucket/" + "a" * 3000, False, False),
    ],
)
def test_where_files_may_be(
    tmp_path: Path, uri: str, allowed: bool, allowed_in_a_database: bool
) -> None:
    """In MLflow's server, in a store, or on this machine; a server cannot lead out of our
    artifacts."""
    home = tmp_path / "artifacts"
    home.mkdir()
    (home / "link").symlink_to("/etc")
    uri = uri.replace("HOME", str(tmp_path))
    for address, wanted in ((SERVER, allowed), ("sqlite:///x.db", allowed_in_a_database)):
        if wanted:
            assert check_place(uri, address, home) == uri
        else:
            with pytest.raises(RegistryError, match="got the address"):
                check_place(uri, address, home)


class LeadingElsewhere(MemoryClient):
    """Says that the files of every run are in a folder of ours that is none of MLflow's."""

    def __init__(self, victim: Path) -> None:
        super().__init__()
        self._victim = victim

    def get_run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(
            info=SimpleNamespace(artifact_uri=self._victim.as_uri(), run_id=run_id),
            data=SimpleNamespace(tags={}),
        )

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(experiment_id="1")

    def create_run(self, *_given: Any, **_named: Any) -> SimpleNamespace:
        return self.get_run("new")

    def search_runs(self, *_given: Any, **named: Any) -> Any:
        return type("Page", (list,), {"token": ""})(
            [self.get_run("a run")] if "file" in named["filter_string"] else []
        )

    def __getattr__(self, name: str) -> Any:
        return lambda *_given, **_named: None


@pytest.mark.parametrize(
    "do",
    [
        lambda registry: registry.prune(1),
        lambda registry: registry.drop_files("drift_report.html", keep=0),
        lambda registry: registry.read_run_file("a run", "secret"),
        lambda registry: registry.local_file("a run", "secret"),
        lambda registry: registry.download(1),
        lambda registry: registry.all_files(registry._client.get_run("a run"), Path()),
        lambda registry: registry.register("a key", "a run", {}),
        lambda registry: registry.log_run(
            "key", "a run", metrics={}, parameters={}, tags={}, files={"model": "planted"}
        ),
    ],
    ids=["prune", "reports", "read", "find", "load", "migrate", "register", "log"],
)
def test_a_server_that_names_a_folder_of_ours_gets_nothing_done_there(
    tmp_path: Path, do: Callable[[Registry], object]
) -> None:
    """Neither deleted, read, written, copied nor registered."""
    victim = tmp_path / "victim"
    (victim / "model").mkdir(parents=True)
    for name in ("secret", "drift_report.html", "model/facts.json"):
        (victim / name).write_text("ours", encoding="utf-8")
    registry = Registry("shop", SERVER, artifacts=tmp_path / "a", downloads=tmp_path / "b")
    client = LeadingElsewhere(victim)
    registry._client_made = client
    client.create_registered_model("shop")
    client.create_model_version("shop", (victim / "model").as_uri(), "a run", {DIGEST: "0" * 64})
    before = tree(tmp_path)
    with pytest.raises(RegistryError, match="got the address"):
        do(registry)
    assert tree(tmp_path) == before


def test_pages_without_end_are_an_error() -> None:
    """The same token again, or a new one for ever."""
    page = type("Page", (list,), {"token": "again"})
    with pytest.raises(RuntimeError, match="no end after 2 pages"):
        list(all_pages(lambda _token: page([1])))
    tokens = iter(range(10**9))
    with pytest.raises(RuntimeError, match="no end"):
        list(all_pages(lambda _token: type("Page", (list,), {"token": f"t{next(tokens)}"})()))
