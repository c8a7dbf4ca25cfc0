"""A training with two Dask workers decides as one without, and outlives a worker."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from distributed import Client, Event, LocalCluster

from closedloop.bundle.skops_model import PipelineScorer
from closedloop.decisions.checks import Action
from closedloop.errors import ClusterError, ModelError
from closedloop.storage.entry import Entry
from closedloop.training.fits import Fit
from closedloop.turn.dask_compute import DaskCompute
from closedloop.turn.history import History
from closedloop.turn.open import open_loop
from closedloop.turn.origin import describe_platform
from closedloop.turn.register import EVIDENCE_FILE, propose_candidate
from closedloop.turn.take_turn import retrain, write_request
from closedloop.use_case.contract import UseCase
from closedloop.use_case.recipe import Recipe
from tests.turned_loop import TurnedLoop, write_loop
from tests.unit.training.shop_windows import make_shop, make_windows
from tests.waiting import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.slow

# Of every number that a decision looks at.
TOLERANCE = 1e-12
FITTING = "a fit runs"
FREE_PORT = "127.0.0.1:0"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers, each a process that is started again when it
    dies."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=FREE_PORT) as made:
        yield made.scheduler_address


def make_loop(folder: Path, make_mlflow_tables: Callable[[Path], None]) -> TurnedLoop:
    """A loop of two recipes whose first model is production."""
    made = write_loop(folder, 4)
    make_mlflow_tables(made.settings.home_folder)
    text = made.path.read_text(encoding="utf-8")
    made.path.write_text(text.replace('["logistic"]', '["logistic", "lightgbm"]'), "utf-8")
    assert made.train("2026-02").decision.action is Action.PROMOTE
    return made


@pytest.fixture
def turned(tmp_path: Path, make_mlflow_tables: Callable[[Path], None]) -> TurnedLoop:
    return make_loop(tmp_path, make_mlflow_tables)


@pytest.fixture(scope="module")
def without(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> tuple[Entry, Any]:
    """What a training without Dask decides, and its evidence."""
    return train(make_loop(tmp_path_factory.mktemp("alone"), make_mlflow_tables), None)


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_shop(tmp_path)


def train(turned: TurnedLoop, dask: str | None) -> tuple[Entry, Any]:
    """The decision of a training for the newest window, and its evidence."""
    settings = turned.settings.model_copy(update={"dask": dask})
    loop = open_loop(turned.path, settings=settings)
    history = History(loop).look()
    entry = retrain(history, write_request(history), propose=propose_candidate)
    assert entry.decision.version is not None
    evidence = json.loads(loop.registry.read_file(entry.decision.version, EVIDENCE_FILE))
    for measured in ("served_by", "served_reason"):  # in milliseconds
        evidence.pop(measured)
    return entry, evidence


def find_difference(first: Any, other: Any) -> float:
    """The largest between two numbers in the same place; everything else must be the same."""
    if isinstance(first, float) and isinstance(other, float):
        return abs(first - other)
    assert type(first) is type(other)
    if isinstance(first, dict):
        assert list(first) == list(other)
        first, other = list(first.values()), list(other.values())
    if isinstance(first, list):
        assert len(first) == len(other)
        return max(map(find_difference, first, other), default=0.0)
    assert first == other
    return 0.0


def check_same(found: tuple[Entry, Any], without: tuple[Entry, Any]) -> None:
    """The same decision, from the same evidence."""
    assert found[0].key == without[0].key
    assert found[0].decision.action is without[0].decision.action
    assert found[1]["comparison"]["recipe"] == without[1]["comparison"]["recipe"]
    assert find_difference(found[1], without[1]) <= TOLERANCE


def test_a_training_on_two_workers_decides_as_one_without(
    turned: TurnedLoop, cluster: str, without: tuple[Entry, Any]
) -> None:
    """The same decision, recipe and checks; the version says where it was fitted."""
    check_same(train(turned, cluster), without)
    platform = turned.open().registry.tags(2)["platform"]
    assert platform.startswith(describe_platform().partition(",")[0])
    assert "with 1 threads" in platform  # as the nanny of a worker says


def hang_in_next_fit() -> int:
    """On a worker: the next fit tells that it runs, and never ends."""
    from closedloop.turn import dask_compute

    def hang(*given: object) -> None:
        Event(FITTING).set()
        threading.Event().wait()

    dask_compute.fit_recipe = hang  # type: ignore[assignment]
    return os.getpid()


def test_a_worker_killed_in_a_fit_does_not_lose_the_training(
    turned: TurnedLoop, cluster: str, without: tuple[Entry, Any]
) -> None:
    """Its fit is done by another worker; Dask starts a new one in its place."""
    with Client(cluster, set_as_default=False) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
        pid = client.run(hang_in_next_fit, workers=[worker])[worker]
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(train, turned, cluster)
            assert Event(FITTING, client=client).wait(timeout=PATIENCE_SECONDS)
            os.kill(pid, signal.SIGKILL)
            found = training.result()
        client.wait_for_workers(2, timeout=PATIENCE_SECONDS)
    check_same(found, without)


def test_a_fit_that_fails_on_a_worker_says_why(cluster: str, use_case: UseCase) -> None:
    """The error is that of the fit, not of the cluster."""
    with pytest.raises(ModelError, match="recipe nobody"):
        DaskCompute(cluster).fit_all([Fit("nobody/all", make_windows(use_case), use_case)])


def say_another_version() -> None:
    """On a worker: all packages have another version."""
    import distributed.versions

    distributed.versions._version_cached = lambda name: "0.1"  # type: ignore[assignment]


def test_a_worker_with_other_versions_is_refused(use_case: UseCase) -> None:
    """It is named, with what differs."""
    fit = Fit("logistic/all", make_windows(use_case), use_case)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=FREE_PORT) as made:
        with Client(made, set_as_default=False) as client:
            client.run(say_another_version)
        with pytest.raises(ClusterError, match=r"lightgbm 0\.1 instead of 4\."):
            DaskCompute(made.scheduler_address).fit_all([fit])


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path, use_case: UseCase) -> None:
    """Nobody at the address, no file, a file of another program, no address, no worker."""
    fit = Fit("logistic/all", make_windows(use_case), use_case)
    other = tmp_path / "other.json"
    other.write_text("[1]", encoding="utf-8")
    for place, got in {
        f"tcp://127.0.0.1:{free_port()}": "Timed out trying to connect",
        str(tmp_path / "scheduler.json"): "No such file",
        str(other): "TypeError",
        "http://127.0.0.1:8786": "is not tcp://HOST:PORT",
    }.items():
        with pytest.raises(ClusterError, match=got) as raised:
            DaskCompute(place, patience=0.5).fit_all([fit])
        assert raised.value.where == f"Dask at {place}"
    with LocalCluster(n_workers=0, dashboard_address=FREE_PORT) as made:
        with pytest.raises(ClusterError, match="wanted a worker, got none"):
            DaskCompute(made.scheduler_address, patience=0.5).fit_all([fit])


def test_estimators_of_the_users_own_stay_here(
    use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their code is not on the workers: they are fitted without one."""
    fitted = PipelineScorer(None, (), ())
    monkeypatch.setattr(DaskCompute, "fit", lambda *given: fitted)
    recipes = MappingProxyType({"mine": Recipe(estimator="mine:build")})
    fit = Fit("mine/all", make_windows(use_case), replace(use_case, recipes=recipes))
    assert DaskCompute(f"tcp://127.0.0.1:{free_port()}").fit_all([fit]) == [fitted]
