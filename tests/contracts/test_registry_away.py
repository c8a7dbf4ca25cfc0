"""What the registry does when MLflow is down, hangs or cannot be opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from closedloop.errors import RegistryError
from closedloop.registry.registry import Registry
from tests.contracts.backends import log

EVERY_QUESTION: list[Callable[[Registry], object]] = [
    lambda registry: registry.production(),
    lambda registry: registry.previous(),
    lambda registry: registry.versions(),
    lambda registry: registry.version(1),
    lambda registry: registry.find_candidate("a key"),
    lambda registry: registry.load(1),
    lambda registry: registry.read_file(1, "evidence.json"),
    lambda registry: registry.register("a key", "a run", {}),
    lambda registry: log(registry, None),
    lambda registry: registry.promote(1, instead_of=None, reason=""),
    lambda registry: registry.roll_back(1, instead_of=2, reason=""),
    lambda registry: registry.reject(1, reason=""),
    lambda registry: registry.loadable(1),
    lambda registry: registry.prune(1),
    lambda registry: registry.count_files("a file"),
    lambda registry: registry.drop_files("a file", keep=1),
    lambda registry: registry.is_pruned("a run"),
    lambda registry: registry.ping(),
    lambda registry: registry.local_file("a run", "a file"),
    lambda registry: registry.run_link("a run", "http://127.0.0.1:5000"),
]


@pytest.fixture
def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://me:secret@127.0.0.1:{probe.getsockname()[1]}"


def test_whatever_is_asked_of_an_mlflow_that_is_away_is_a_registry_error(
    tmp_path: Path, free_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of MLflow or requests leaks out; the error says where, what, why and what to do,
    without the password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for ask in EVERY_QUESTION:
        with pytest.raises(RegistryError) as caught:
            ask(Registry("shop", free_address, artifacts=tmp_path, downloads=tmp_path))
        assert caught.value.where.startswith("MLflow at http://***@127.0.0.1")
        assert all(
            (caught.value.wanted, caught.value.got, "closedloop doctor" in caught.value.then)
        )
        assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_noticed_soon(
    tmp_path: Path, free_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the client's settings as we choose them a refused connection is an error within seconds,
    where MLflow's own take minutes."""
    for name in ("MAX_RETRIES", "BACKOFF_FACTOR", "TIMEOUT"):
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}", raising=False)
    started = monotonic()
    with pytest.raises(RegistryError):
        Registry("shop", free_address, artifacts=tmp_path, downloads=tmp_path).production()
    assert monotonic() - started < 15


def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts a connection and never answers is an error once the time that the
    environment allows is over."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        registry = Registry(
            "shop",
            f"http://127.0.0.1:{deaf.getsockname()[1]}",
            artifacts=tmp_path,
            downloads=tmp_path,
        )
        with pytest.raises(RegistryError):
            registry.production()


def test_what_the_environment_says_to_mlflows_client_stays(
    tmp_path: Path, free_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our settings of MLflow's client are defaults: a user's own patience is left alone."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError):
        Registry("shop", free_address, artifacts=tmp_path, downloads=tmp_path).ping()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.mkdir(parents=True),
        lambda path: path.parent.touch(),
        lambda path: (
            path.parent.mkdir(),
            path.write_text("not a database, but longer than the header of one is " * 9),
        ),
    ],
)
def test_an_embedded_database_that_cannot_be_opened_is_noticed_soon(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """A folder, a file in the place of its folder, or a file of another kind: an error within
    seconds, where MLflow tries for minutes."""
    spoil(tmp_path / "store" / "mlflow.db")
    started = monotonic()
    with pytest.raises(RegistryError, match=r"closedloop doctor|put a backup in its place"):
        Registry(
            "shop",
            f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}",
            artifacts=tmp_path,
            downloads=tmp_path,
        ).production()
    assert monotonic() - started < 15
