"""What the registry promises, held against an embedded MLflow on SQLite, a real MLflow server over
HTTP, and the one in memory.

The one in memory has no runs and no files: it takes the part of the tests that moves aliases and
tags.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from closedloop.bundle.files import model_digest
from closedloop.bundle.frames import score_frame
from closedloop.bundle.skops_model import SELF_TEST_TOLERANCE
from closedloop.errors import RegistryError
from closedloop.registry.versions import Registry
from tests.contracts.backends import FACTS, Backend, add, crashing, fit_pipeline, log, rows, state

# Versions


def test_a_model_that_was_never_registered_has_nothing(any_backend: Backend) -> None:
    """No production, no previous, no versions, no candidate: answers, not errors."""
    registry = any_backend.new()
    assert state(registry) == (None, None, ())
    assert registry.find_candidate("a key") is None
    with pytest.raises(RegistryError, match="got versions none yet"):
        registry.version(1)


def test_what_was_registered_is_found_again(any_backend: Backend) -> None:
    """Numbers are integers, tags come back as facts, and versions are listed oldest first."""
    registry = any_backend.new()
    add(registry, 11)
    versions = any_backend.open(registry.name).versions()
    assert [one.version for one in versions] == list(range(1, 12))
    assert all(type(one.version) is int for one in versions)
    tenth = registry.version(10)
    assert (
        tenth.status,
        tenth.key,
        tenth.recipe,
        tenth.window,
        tenth.trained_through,
        tenth.val_auc,
        tenth.aliases,
    ) == ("candidate", "key-9", "logistic/all", "w9", "w9", 0.75, ())
    registry.promote(10, instead_of=None, reason="best")
    assert type(registry.production()) is int
    assert registry.version(10).aliases == ("production",)


def test_one_key_gives_one_version(any_backend: Backend) -> None:
    """Registering again, also from a new process, returns what is there."""
    registry = any_backend.new()
    add(registry, 1)
    assert any_backend.open(registry.name).register("key-0", "another run", {}) == 1
    assert len(registry.versions()) == 1


class RepeatingClient:
    """MLflow's client as it is when an answer gets lost: it sends the request again."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_model_version(self, *given: Any, **named: Any) -> Any:
        self._client.create_model_version(*given, **named)
        return self._client.create_model_version(*given, **named)


def test_a_lost_answer_leaves_one_version_that_counts(any_backend: Backend) -> None:
    """When a request was carried out twice both versions exist, but everyone is told of the same
    one."""
    registry = any_backend.new()
    add(registry, 1)
    run = registry.version(1).run_id
    registry._client_made = RepeatingClient(registry._client)
    assert registry.register("twice", run, {}) == 2
    assert any_backend.open(registry.name).register("twice", run, {}) == 2


# What is live


def test_the_life_of_versions(any_backend: Backend) -> None:
    """Candidate, production, archived, rejected: each promotion archives what it replaced and keeps
    the way back to it."""
    registry = any_backend.new()
    add(registry, 4)
    assert registry.promote(1, instead_of=None, reason="the first")
    assert state(registry) == (1, None, ("production", "candidate", "candidate", "candidate"))
    assert registry.promote(2, instead_of=1, reason="better")
    assert state(registry) == (2, 1, ("archived", "production", "candidate", "candidate"))
    assert registry.promote(3, instead_of=2, reason="better still")
    assert state(registry) == (3, 2, ("archived", "archived", "production", "candidate"))
    registry.reject(4, reason="worse")
    registry.reject(3, reason="live is not for rejecting")
    assert state(registry) == (3, 2, ("archived", "archived", "production", "rejected"))
    assert registry.version(2).aliases == ("previous",)


def test_after_a_rollback_there_is_no_previous(any_backend: Backend) -> None:
    """What was left is archived and is no way back; the version gone back to is production
    again."""
    registry = any_backend.new()
    add(registry, 2)
    registry.promote(1, instead_of=None, reason="first")
    registry.promote(2, instead_of=1, reason="better")
    assert registry.roll_back(1, instead_of=2, reason="worse after all")
    assert state(registry) == (1, None, ("production", "archived"))


def test_going_back_further_than_previous(any_backend: Backend) -> None:
    """Any version can be gone back to; no previous is left either."""
    registry = any_backend.new()
    add(registry, 3)
    for number, before in ((1, None), (2, 1), (3, 2)):
        registry.promote(number, instead_of=before, reason="better")
    assert registry.roll_back(1, instead_of=3, reason="much worse")
    assert state(registry) == (1, None, ("production", "archived", "archived"))


def test_nothing_moves_when_production_is_another(any_backend: Backend) -> None:
    """A promotion and a rollback that were decided about a version that is no longer live say False
    and change nothing."""
    registry = any_backend.new()
    add(registry, 4)
    for number, before in ((1, None), (2, 1)):
        registry.promote(number, instead_of=before, reason="better")
    before = state(registry)
    assert registry.promote(3, instead_of=1, reason="decided when 1 was live") is False
    assert registry.promote(3, instead_of=None, reason="decided when nothing was live") is False
    assert registry.roll_back(1, instead_of=3, reason="decided when 3 was live") is False
    assert state(registry) == before


def test_a_version_that_is_not_there_cannot_go_live(any_backend: Backend) -> None:
    """Neither forwards nor back: the versions that exist are named and production stays."""
    registry = any_backend.new()
    add(registry, 2)
    registry.promote(1, instead_of=None, reason="first")
    for move in (
        lambda: registry.promote(9, instead_of=1, reason=""),
        lambda: registry.roll_back(9, instead_of=1, reason=""),
    ):
        with pytest.raises(RegistryError, match="wanted version 9, got versions 1, 2"):
            move()
    assert state(registry) == (1, None, ("production", "candidate"))


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (
            lambda registry: registry.promote(3, instead_of=2, reason="better"),
            (3, 2, ("archived", "archived", "production")),
        ),
        (
            lambda registry: registry.roll_back(1, instead_of=2, reason="worse"),
            (1, None, ("production", "archived", "candidate")),
        ),
        (
            lambda registry: registry.reject(3, reason="worse"),
            (2, 1, ("archived", "production", "rejected")),
        ),
    ],
    ids=["promote", "roll back", "reject"],
)
def test_a_move_repeated_after_a_crash_anywhere_ends_alike(
    any_backend: Backend, move: Callable[[Registry], object], expected: tuple[Any, ...]
) -> None:
    """For every call to MLflow: a crash just before it leaves production and previous usable, and
    the same move ends in the same state."""
    registry = any_backend.new()
    add(registry, 3)
    for calls in count():
        begin_with_two_live_in_turn(registry)
        try:
            move(crashing(any_backend, registry.name, calls))
        except RegistryError:
            assert registry.production() in (1, 2, 3)
            move(any_backend.open(registry.name))
            assert state(registry) == expected, f"after a crash before call {calls + 1}"
        else:
            break
    assert state(registry) == expected
    assert calls > 2


def begin_with_two_live_in_turn(registry: Registry) -> None:
    """Versions 1 and 2 were promoted, 3 waits; set by hand, so that every round begins alike."""
    client, name = registry._client, registry.name
    client.set_registered_model_alias(name, "previous", "1")
    client.set_registered_model_alias(name, "production", "2")
    for number, status in enumerate(("archived", "production", "candidate"), start=1):
        client.set_model_version_tag(name, str(number), "closedloop.status", status)


# Runs and files


def test_a_logged_model_comes_back_and_answers_alike(backend: Backend, folder: Path) -> None:
    """The bundle that another process loads repeats the answers of the fitted pipeline; its run
    shows metrics, data and files."""
    registry = backend.new()
    version = registry.register("a key", run := log(registry, folder), {"window": "month 1"})
    bundle = backend.open(registry.name).load(version)
    assert bundle.measure_self_test() <= SELF_TEST_TOLERANCE
    expected = fit_pipeline().predict_proba(rows(9))
    assert np.allclose(score_frame(bundle.scorer, rows(9)), expected, atol=1e-9)
    assert bundle.facts == FACTS
    assert len(bundle.reference()) == 30
    assert registry.read_file(version, "evidence.json") == "{}"
    shown = registry._client.get_run(run)
    assert (shown.info.status, shown.data.metrics, shown.data.params) == (
        "FINISHED",
        {"val_auc": 0.75},
        {"seed": "7"},
    )
    assert [(one.dataset.name, one.dataset.digest) for one in shown.inputs.dataset_inputs] == [
        ("month 1", ("ab" * 32)[:36])
    ]
    assert run in registry.run_link(run, "http://127.0.0.1:5000")


def test_any_mlflow_client_can_use_production(
    backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models:/NAME@production` is a model that plain pyfunc loads and asks, without a line of
    ours."""
    import mlflow.pyfunc

    registry = backend.new()
    version = registry.register("a key", log(registry, folder), {})
    registry.promote(version, instead_of=None, reason="first")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    answered = mlflow.pyfunc.load_model(f"models:/{registry.name}@production").predict(rows(9))
    assert np.allclose(answered, fit_pipeline().predict_proba(rows(9)), atol=1e-9)


def find_model_file(backend: Backend, run: str) -> Path:
    (found,) = (path for path in backend.files.rglob("facts.json") if run in str(path))
    return found


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes() + b" "),
        lambda path: path.with_name("more").touch(),
        Path.unlink,
    ],
)
def test_files_changed_after_registration_are_refused(
    backend: Backend, folder: Path, harm: Callable[[Path], object]
) -> None:
    """A byte more, a file more or a file less in MLflow's store: the sha256 does not match, and the
    version is not loaded."""
    registry = backend.new()
    version = registry.register("a key", run := log(registry, folder), {})
    harm(find_model_file(backend, run))
    with pytest.raises(
        RegistryError,
        match=r"version 1: wanted files with sha256 \w{12}, got \w{12}: the files were changed",
    ):
        backend.open(registry.name).load(version)


def test_files_changed_before_registration_are_refused(backend: Backend, folder: Path) -> None:
    """The digest is that of what was logged, not of what lies in the store when the version is
    made."""
    registry = backend.new()
    run = log(registry, folder)
    find_model_file(backend, run).write_text("{}")
    with pytest.raises(RegistryError, match="changed after registration"):
        registry.load(registry.register("a key", run, {}))


def test_a_version_that_somebody_else_registered_is_not_loaded(
    backend: Backend, folder: Path
) -> None:
    """Without the sha256 that we note at registration nothing is known of its files."""
    registry = backend.new()
    run = log(registry, folder)
    registry._client.create_registered_model(registry.name)
    source = f"{registry._client.get_run(run).info.artifact_uri}/model"
    registry._client.create_model_version(registry.name, source=source, run_id=run)
    assert registry.version(1).status == "unknown"
    with pytest.raises(RegistryError, match="whose sha256 was noted at registration"):
        registry.load(1)


def test_loading_a_version_that_is_not_there_names_those_that_are(any_backend: Backend) -> None:
    """The error says which versions could be loaded."""
    registry = any_backend.new()
    add(registry, 2)
    with pytest.raises(RegistryError, match="wanted version 7, got versions 1, 2"):
        registry.load(7)


def test_a_fetched_bundle_is_kept_and_mended(server: Backend, folder: Path) -> None:
    """What was fetched once is not fetched again; a copy that was damaged meanwhile, or cut short,
    is fetched anew."""
    registry = server.new()
    version = registry.register("a key", log(registry, folder), {})
    kept = registry.fetch(version)
    assert kept.is_relative_to(server.home)
    before = (kept / "facts.json").stat().st_ino
    assert registry.fetch(version) == kept
    assert (kept / "facts.json").stat().st_ino == before
    for harm in (
        lambda: (kept / "facts.json").write_text("{"),
        lambda: (kept / "stale").touch(),
        lambda: shutil.rmtree(kept),
    ):
        harm()
        assert registry.load(version).measure_self_test() <= SELF_TEST_TOLERANCE
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_two_may_fetch_the_same_version_at_once(server: Backend, folder: Path) -> None:
    """Neither reads what the other has half written."""
    registry = server.new()
    version = registry.register("a key", log(registry, folder), {})
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: server.open(registry.name).fetch(version), range(4)))
    assert {model_digest(fetched) for fetched in folders} == {model_digest(folder)}


@pytest.mark.parametrize(
    "key",
    ["shop/month_001/promotion/ab", "shop/it's spring/promotion/ab", 'shop/"quoted"/promotion/ab'],
)
def test_one_key_gives_one_run(backend: Backend, key: str) -> None:
    """Logging again under a key, whatever signs a window's name brings into it, returns the
    finished run unchanged."""
    registry = backend.new()
    run = log(registry, None, key)
    assert log(backend.open(registry.name), None, key, metrics={"val_auc": 0.1}) == run
    assert registry._client.get_run(run).data.metrics == {"val_auc": 0.75}


def test_logging_prints_nothing(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    """With a server MLflow's client would print the address of each run into the output that a
    program reads."""
    log(backend.new(), None)
    assert capfd.readouterr().out == ""


def test_a_run_and_a_version_after_a_crash_anywhere(backend: Backend, folder: Path) -> None:
    """For every call to MLflow while a model is logged and registered: the repeated command leaves
    one finished run and one version; what was half written is marked killed."""
    registry = backend.new()
    log(registry, None, "makes the experiment")
    killed = 0
    for calls in count():
        key = f"key {calls}"
        try:
            cut = crashing(backend, registry.name, calls)
            cut.register(key, log(cut, folder, key), {})
        except RegistryError:
            after = backend.open(registry.name)
            after.register(key, log(after, folder, key), {})
        else:
            break
        runs = [run.info.status for run in registry._runs(key)]
        assert runs.count("FINISHED") == 1
        assert set(runs) <= {"FINISHED", "KILLED"}
        killed += runs.count("KILLED")
    versions = registry.versions()
    assert [one.key for one in versions] == [f"key {number}" for number in range(calls + 1)]
    assert killed > 2
    assert calls > 8


def test_a_file_of_a_run_is_found_where_it_lies(embedded: Backend, server: Backend) -> None:
    """On this machine its path is known; behind a server it is not, and a file that was not logged
    is in neither."""
    for backend, known in ((embedded, True), (server, False)):
        registry = backend.new()
        run = log(registry, None)
        found = registry.local_file(run, "evidence.json")
        assert (found is not None) is known
        if found is not None:
            assert found.read_text() == "{}"
        assert registry.local_file(run, "nothing.html") is None


# MLflow away

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
    with pytest.raises(RegistryError, match="closedloop doctor"):
        Registry(
            "shop",
            f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}",
            artifacts=tmp_path,
            downloads=tmp_path,
        ).production()
    assert monotonic() - started < 15
