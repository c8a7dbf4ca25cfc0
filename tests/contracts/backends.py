"""The MLflows that registries are held against: embedded on SQLite, a real server over HTTP, and
one in memory; and versions to put in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.bundle.files import Facts
from closedloop.bundle.skops_model import write_facts
from closedloop.operations.child_process import start_child, stop_child
from closedloop.registry.registry import Registry
from closedloop.training.recipes import fit
from tests.mlflow_in_memory import CrashingClient, MemoryClient

START_SECONDS = 180.0
CONTENT: dict[str, Any] = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {"spend": {"type": "numeric"}, "plan": {"type": "categorical"}},
}
FACTS = Facts(
    "shop", "a key", "lightgbm/all", ("False", "True"), ("w0",), "w1", 0.7, {}, CONTENT, 200, "ab"
)
COLUMNS = ["spend", "plan"]


def rows(seed: int, number: int = 200) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    plan = pd.Series(draw.choice(["basic", "gold"], number), dtype=object)
    return pd.DataFrame({"spend": draw.normal(50, 20, number), "plan": plan})


def fit_pipeline() -> Any:
    frame = rows(1)
    labels = (frame["spend"] > 50).to_numpy(dtype=int)
    return fit("lightgbm", frame, labels, numeric=("spend",), categorical=("plan",), seed=7)


@dataclass
class Backend:
    """One MLflow. `files` is where its artifacts lie on this machine."""

    uri: str
    home: Path
    files: Path
    numbers: Iterator[int]

    def open(self, name: str) -> Registry:
        """A registry as a new process would open it: it remembers nothing."""
        return Registry(
            name, self.uri, artifacts=self.home / "artifacts", downloads=self.home / "bundles"
        )

    def new(self) -> Registry:
        """A registry of a model that nobody has heard of."""
        return self.open(f"model-{next(self.numbers)}")


@dataclass
class InMemory(Backend):
    def open(self, name: str) -> Registry:
        registry = super().open(name)
        registry._client_made = MEMORY
        return registry


MEMORY = MemoryClient()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A real `mlflow server`; it ends with this process, however this process ends."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "files"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = start_child(command, environment=environment, log=home / "log")
    try:
        deadline = monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{port}/health"):
            # Nothing tells when a port begins to answer; the end of the process is waited for
            # between two questions.
            ended = wait(process, 0.2)
            assert not ended, f"it ended: {(home / 'log').read_text()}"
            assert monotonic() < deadline, f"no answer: {(home / 'log').read_text()}"
        yield Backend(f"http://127.0.0.1:{port}", home / "client", home / "files", count(1))
    finally:
        stop_child(process)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    home = tmp_path_factory.mktemp("embedded")
    return Backend(f"sqlite:///{home / 'store' / 'mlflow.db'}", home, home / "artifacts", count(1))


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    return InMemory("memory", tmp_path_factory.mktemp("memory"), Path("nowhere"), count(1))


@pytest.fixture(params=["embedded", "server"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["memory", "embedded", "server"])
def any_backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as the loop writes it."""
    folder, pipeline = tmp_path_factory.mktemp("bundle") / "model", fit_pipeline()
    sample = rows(2, 20)
    Registry("shop", "nowhere", artifacts=Path(), downloads=Path()).save_model(
        pipeline, folder, sample, pipeline.predict_proba(sample)
    )
    write_facts(
        folder,
        FACTS,
        rows(2, 20),
        pipeline.predict_proba(rows(2, 20)),
        rows(3, 30).assign(left="True"),
    )
    return folder


def log(registry: Registry, folder: Path | None, key: str = "a key", **named: Any) -> str:
    given = {
        "metrics": {"val_auc": 0.75},
        "parameters": {"seed": 7},
        "tags": {"closedloop.kind": "training"},
        "files": {"evidence.json": "{}", "plots/roc.png": b"\x89PNG"},
        "data": {"month 1": "ab" * 32},
    }
    return registry.log_run(key, "train", **{**given, **named}, folder=folder)


def add(registry: Registry, number: int) -> None:
    """Register versions whose files nobody will ask for."""
    run = (
        "a run"
        if registry._client_made is MEMORY
        else log(registry, None, "bare", files={}, data=None)
    )
    for place in range(number):
        window = f"w{place}"
        facts = {"recipe": "logistic/all", "window": window, "trained_through": window}
        registry.register(f"key-{place}", run, {**facts, "val_auc": "0.75"})


def state(registry: Registry) -> tuple[Any, ...]:
    return (
        registry.production(),
        registry.previous(),
        tuple(version.status for version in registry.versions()),
    )


def crashing(backend: Backend, name: str, calls: int) -> Registry:
    """A registry whose MLflow is gone after some calls."""
    registry = backend.open(name)
    registry._client_made = CrashingClient(registry._client, calls)
    return registry
