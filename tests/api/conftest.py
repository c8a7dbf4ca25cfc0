"""A service with real models, real records and a registry that is a dictionary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sqlalchemy import Engine

from api.app import create_app
from api.model.follower import Follower
from api.model.live import Production
from closedloop.bundle.contributions import Explainer
from closedloop.bundle.explaining import Explained, explain_rows
from closedloop.bundle.files import MODEL_FILE, Facts
from closedloop.bundle.loaded import LoadedVersion, load_with_pipeline
from closedloop.bundle.skops_model import write_facts
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.prepare import prepare

CONTENT: dict[str, Any] = {
    "name": "shop",
    "key": "customer",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "monthly spend": {"type": "numeric", "minimum": 0, "maximum": 500},
        "visits": {"type": "numeric"},
        "plan": {"type": "categorical", "allowed": ["basic", "gold"]},
        "returning": {"type": "categorical"},
    },
}
GOOD_ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}


def build_bundle(
    folder: Path,
    seed: int,
    content: dict[str, Any] = CONTENT,
    classes: tuple[str, ...] = ("False", "True"),
) -> LoadedVersion:
    """Fit a small pipeline on made-up rows and package it; another seed is another model."""
    folder.mkdir(parents=True)
    use_case = parse_use_case(
        {**content, "target": {**content["target"], "classes": list(classes)}}, folder / "loop.toml"
    )
    draw = np.random.default_rng(seed)
    raw = pd.DataFrame(
        {
            name: draw.normal(50, 20, 200)
            if column.type == "numeric"
            else draw.choice(["basic", "gold", "True", "False"], 200)
            for name, column in use_case.columns.items()
        }
    )
    prepared = prepare(raw, use_case)[list(use_case.columns)]
    labels = draw.integers(0, len(classes), 200)
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [
            ("n", numeric, list(use_case.numeric)),
            ("c", OneHotEncoder(handle_unknown="ignore"), list(use_case.categorical)),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(prepared, labels)
    skops.io.dump(pipeline, folder / MODEL_FILE)
    facts = Facts(
        use_case.name,
        f"key-{seed}",
        "logistic/all",
        classes,
        ("w0", "w1"),
        "w2",
        0.7,
        {},
        {**use_case.content},
        200,
        "0" * 64,
    )
    tested = prepared.head(20)
    write_facts(
        folder,
        facts,
        tested,
        pipeline.predict_proba(tested),
        prepared.assign(prediction=np.nan, left="True"),
    )
    return load_with_pipeline(folder)


@dataclass
class Versions:
    """A registry that works: versions in a dictionary, `production` one of them, and faults on
    demand."""

    bundles: dict[int, LoadedVersion] = field(default_factory=dict)
    production: int | None = None
    unreachable: Exception | None = None
    load_faults: dict[int, Exception] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)
    note_fault: Exception | None = None

    def find_production(self) -> int | None:
        if self.unreachable:
            raise self.unreachable
        return self.production

    def load(self, version: int) -> LoadedVersion:
        self.loads.append(version)
        if version in self.load_faults:
            raise self.load_faults[version]
        return self.bundles[version]

    def note_live(self, version: int) -> None:
        if self.note_fault:
            raise self.note_fault
        self.noted.append(version)


class Explaining:
    """Explains rows as the service's process does, without a process."""

    def __init__(self, version: LoadedVersion) -> None:
        self._explainer, self.alive = Explainer(version), True

    def explain(self, numbers: Any, texts: Any, seconds: float, /) -> Explained:
        if seconds < 0:
            raise TimeoutError("out of time")
        return explain_rows(self._explainer, numbers, texts)

    def close(self) -> None:
        self.alive = False


@dataclass
class Clock:
    moment: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_seconds(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class Service:
    """The service and everything behind it. The follower's thread is not started: `follow` takes
    one turn of it."""

    versions: Versions
    records: Records
    engine: Engine
    clock: Clock
    production: Production
    follower: Follower
    app: FastAPI
    client: TestClient
    use_case: UseCase

    def follow(self) -> None:
        self.follower.follow_once()

    def promote(self, version: int) -> None:
        self.versions.production = version
        self.follow()

    def predict(self, *rows: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post("/predict", json={"rows": list(rows or (GOOD_ROW,))})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def metric(self, name: str) -> float | None:
        """Value of one line of /metrics, whose label `use_case` is left out; None without it."""
        text = re.sub(r'\{use_case="shop"\}|,use_case="shop"', "", self.client.get("/metrics").text)
        lines = [line.rsplit(" ", 1) for line in text.splitlines()]
        return next((float(line[1]) for line in lines if line[0] == name), None)


def spoil_self_test(bundle: LoadedVersion) -> LoadedVersion:
    """The same model with a proof that it does not repeat."""
    spoilt = replace(bundle.self_test, answers=bundle.self_test.answers + 0.001)
    return replace(bundle, self_test=spoilt)


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `bundles` are, each in a folder named after its version."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def bundles(bundle_folder: Path) -> dict[int, LoadedVersion]:
    """Versions 1 to 3, different models of one use case."""
    return {number: build_bundle(bundle_folder / str(number), seed=number) for number in (1, 2, 3)}


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., LoadedVersion]:
    def make(name: str, **kinds: Any) -> LoadedVersion:
        return build_bundle(tmp_path / name, seed=9, **kinds)

    return make


@pytest.fixture
def make_service(
    tmp_path: Path, bundles: dict[int, LoadedVersion]
) -> Iterator[Callable[..., Service]]:
    opened: list[tuple[Records, Engine]] = []

    def make(
        database_url: str | None = None,
        follow_seconds: float = 3600,
        unrecorded: Sequence[str] = (),
        **limits: Any,
    ) -> Service:
        clock, production = Clock(), Production()
        versions = Versions(dict(bundles))
        engine = open_engine(database_url or f"sqlite:///{tmp_path / 'store' / 'records.db'}")
        records = Records(engine, now=clock)
        opened.append((records, engine))
        follower = Follower(
            production,
            versions.find_production,
            versions.load,
            versions.note_live,
            unrecorded=unrecorded,
            follow_seconds=follow_seconds,
            now=clock,
        )
        limits.setdefault("open_explainer", lambda version: Explaining(versions.bundles[version]))
        app = create_app(follower, records, **{"use_case": "shop", **limits})
        # Without the context manager the lifespan does not run, so no thread interferes with
        # `follow`.
        client = TestClient(app, raise_server_exceptions=True)
        return Service(
            versions, records, engine, clock, production, follower, app, client, bundles[1].use_case
        )

    yield make
    for records, engine in opened:
        records.close()
        engine.dispose()


@pytest.fixture
def empty_service(make_service: Callable[..., Service]) -> Service:
    """A service before its first model."""
    return make_service()


@pytest.fixture
def service(empty_service: Service) -> Service:
    """A service that answers with version 1."""
    empty_service.promote(1)
    return empty_service


@pytest.fixture
def good_row() -> dict[str, Any]:
    return dict(GOOD_ROW)


@pytest.fixture
def spoiled(bundles: dict[int, LoadedVersion]) -> LoadedVersion:
    return spoil_self_test(bundles[2])
