"""A small use case with two versions in a registry of its own, and `closedloop serve` on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.bundle.files import Facts
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.bundle.onnx_proof import prove
from closedloop.bundle.skops_model import write_facts
from closedloop.operations.child_process import start_child, stop_child
from closedloop.registry.registry import Registry
from closedloop.training.recipes import fit
from closedloop.use_case.loop_toml import load_use_case
from tests.waiting import free_port, until

CONTENT = """
name = "shop"
key = "customer"
[source]
query = "select 1"
windows = "*.csv"
[target]
column = "left"
classes = ["False", "True"]
[columns.spend]
type = "numeric"
[columns.plan]
type = "categorical"
"""
ROW = {"spend": 61.5, "plan": "gold"}


def rows(seed: int, number: int = 200) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "spend": draw.normal(50, 20, number),
            "plan": pd.Series(draw.choice(["basic", "gold"], number), dtype=object),
        }
    )


@dataclass
class Shop:
    """A use case with two proved versions in an embedded MLflow, each of which answers in its own
    way."""

    folder: Path
    answers: dict[int, list[float]] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        """As a new process would open it."""
        home = self.folder / "home"
        return Registry(
            "shop",
            f"sqlite:///{home / 'mlflow.db'}",
            artifacts=home / "artifacts",
            downloads=home / "bundles",
        )

    def add(self, seed: int) -> int:
        """Train, prove and register one more version."""
        use_case, registry = load_use_case(self.folder / "loop.toml"), self.registry
        frame = rows(seed)
        labels = (
            frame["spend"] + np.random.default_rng(seed).normal(0, 10 * seed, len(frame)) > 50
        ).to_numpy(dtype=int)
        pipeline = fit(
            "logistic", frame, labels, numeric=("spend",), categorical=("plan",), seed=seed
        )
        bundle, sample = self.folder / f"bundle-{seed}", rows(9, 20)
        registry.save_model(pipeline, bundle, sample, pipeline.predict_proba(sample))
        facts = Facts(
            "shop",
            f"key-{seed}",
            "logistic/all",
            ("False", "True"),
            ("w0",),
            "w1",
            0.7,
            {},
            use_case.content,
            200,
            "ab",
        )
        write_facts(
            bundle, facts, sample, pipeline.predict_proba(sample), frame.assign(left="True")
        )
        assert prove(bundle, pipeline, sample, use_case, 1e-5).served_by == "onnx"
        run = registry.log_run(
            f"key-{seed}", "train", metrics={}, parameters={}, tags={}, files={}, folder=bundle
        )
        number = registry.register(f"key-{seed}", run, {"window": "w1", "served_by": "onnx"})
        scorer = load_with_pipeline(bundle).scorer
        self.answers[number] = score_frame(scorer, pd.DataFrame([ROW]))[0].tolist()
        return number


@dataclass(frozen=True)
class Served:
    """A running service."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, path: str, content: Any = None) -> Any:
        """The answer as JSON, or as text where it is none; on a connection of its own, so that any
        worker may get it."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            self.address + path, body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                said = response.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode()
        return json.loads(said) if said.startswith("{") else said

    def metric(self, name: str) -> float:
        lines = [
            line.rsplit(" ", 1)
            for line in self.ask("/metrics").splitlines()
            if not line.startswith("#")
        ]
        return sum(float(value) for series, value in lines if series.partition("{")[0] == name)


def clean_environment() -> dict[str, str]:
    """The environment of the test, without what steers the loop."""
    ours = ("CLOSEDLOOP_", "MLFLOW_", "PREFECT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@contextmanager
def serving(shop: Shop, workers: int = 2) -> Iterator[Served]:
    options = ["--use-case", str(shop.folder / "loop.toml"), "--workers", str(workers)]
    with run_service(shop.folder, options, {"CLOSEDLOOP_HOME": str(shop.folder / "home")}) as live:
        yield live


@contextmanager
def run_service(
    folder: Path, options: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Served]:
    """`closedloop serve` on a free port, from its first answer to the end of the block."""
    port = free_port()
    log = folder / f"serve-{port}.log"
    process = start_child(
        [sys.executable, "-m", "closedloop", "serve", "--port", str(port), *options],
        environment={**clean_environment(), **environment},
        log=log,
    )
    served = Served(f"http://127.0.0.1:{port}", process, log)
    try:
        until(lambda: process.poll() is not None or is_ready(served), "an answer of the service")
        assert process.poll() is None, log.read_text()
        yield served
    finally:
        stop_child(process)


def is_ready(served: Served) -> bool:
    try:
        return bool(served.ask("/ready")["ready"])
    except (OSError, urllib.error.URLError):
        return False


def processes_of(shop: Shop) -> list[int]:
    """Every process that was started for this use case and still runs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"CLOSEDLOOP_HOME={shop.folder / 'home'}".encode() in environment:
            found.append(int(folder.name))
    return found


def children(parent: int) -> set[int]:
    try:
        return {
            int(process)
            for path in Path(f"/proc/{parent}/task").glob("*/children")
            for process in path.read_text().split()
        }
    except OSError:
        return set()
